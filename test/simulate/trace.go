package simulate

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// remembered is the number of events that a violation shows.
const remembered = 48

// trace remembers the last events of a world, and hashes all of them. Equal sums
// mean equal histories.
type trace struct {
	sum   uint64
	ring  [remembered]happening
	count int
}

// happening is one event of the trace.
type happening struct {
	step int
	at   time.Duration
	who  string
	what string
	more []any
}

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func (t *trace) mix(v uint64) { t.sum = (t.sum ^ v) * fnvPrime }

func (t *trace) mixText(s string) {
	for i := range len(s) {
		t.mix(uint64(s[i]))
	}
}

// begin notes a step.
func (t *trace) begin(w *world, e event) {
	who := ""
	if e.party != nil {
		who = e.party.name
	}
	t.mix(uint64(w.now))
	t.mixText(who)
	t.mixText(e.what)
	t.ring[t.count%remembered] = happening{step: w.step, at: w.now, who: who, what: e.what}
	t.count++
}

// note adds an event within a step.
func (w *world) note(who, what string, more ...any) {
	w.trace.mixText(what)
	t := &w.trace
	t.ring[t.count%remembered] = happening{step: w.step, at: w.now, who: who, what: "  " + what, more: more}
	t.count++
}

// last returns the last events as text, oldest first.
func (t *trace) last() string {
	var b strings.Builder
	for i := max(0, t.count-remembered); i < t.count; i++ {
		e := t.ring[i%remembered]
		fmt.Fprintf(&b, "%7d %9.3fs  %-4s %s", e.step, e.at.Seconds(), e.who, e.what)
		for _, m := range e.more {
			fmt.Fprintf(&b, " %v", m)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func utoa(n uint64) string { return strconv.FormatUint(n, 10) }

// Violation is a broken promise.
type Violation struct {
	Seed  uint64 // of the world alone
	Step  int    // in that world
	Text  string
	Trace string // the last steps
}

// String returns the violation in one line.
func (v *Violation) String() string {
	return fmt.Sprintf("%s (seed %d, step %d)", v.Text, v.Seed, v.Step)
}

// fail reports a broken promise. Only the first one counts.
func (w *world) fail(format string, args ...any) {
	if w.failed != nil {
		return
	}
	w.failed = &Violation{Seed: w.seed, Step: w.step, Text: fmt.Sprintf(format, args...)}
	w.failed.Trace = w.trace.last()
}
