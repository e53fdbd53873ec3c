package progress

import (
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/report"
)

// liveShot is the data of one picture of a run. It is a copy of the state, so that
// drawing does not delay events.
type liveShot struct {
	run, pipeline string
	elapsed       time.Duration
	left          time.Duration
	leftKnown     bool
	ended         string

	total       int
	done        int
	counts      map[report.Status]int // with the modules that no event has named
	hidden      int
	running     []liveModule
	failed      []liveModule // the newest first
	waits       []liveWait
	waitsN      int // all of them
	slowest     []liveModule
	workers     []liveWorker
	offer       liveWorker // all workers together
	workerWidth int        // of the widest name
	notes       []string
	took        map[string]time.Duration // estimates, read only
	now         time.Time
}

// liveWait is a module that waits, and why.
type liveWait struct{ who, word, why string }

// queueLook bounds how many modules with keys one picture examines.
const queueLook = 200

// shot copies at most rows of everything.
func (s *liveState) shot(now time.Time, rows int) *liveShot {
	x := &liveShot{
		run: s.run, pipeline: s.pipeline, ended: s.ended, now: now, total: s.total, done: s.done(),
		counts: maps.Clone(s.counts), hidden: s.hidden, took: s.eta.took, notes: s.notes[max(0, len(s.notes)-2):],
		running: s.running.copy(rows),
	}
	x.notes = append([]string(nil), x.notes...)
	x.counts[report.Waiting] += s.unheard
	if !s.started.IsZero() {
		x.elapsed = max(0, now.Sub(s.started))
	}
	x.left, x.leftKnown = s.eta.left(s, now)
	for i := len(s.failed) - 1; i >= 0 && len(x.failed) < rows; i-- {
		x.failed = append(x.failed, *s.failed[i])
	}
	for _, m := range s.slowest {
		x.slowest = append(x.slowest, *m)
	}
	for _, name := range s.names {
		w := s.workers[name]
		if w.gone == "" {
			x.offer.slots += w.slots
			x.offer.used += w.used
		}
		if w.gone != workerLeft {
			x.workers = append(x.workers, *w)
			x.workerWidth = max(x.workerWidth, utf8.RuneCountInString(name))
		}
	}
	s.shootWaits(x, rows)
	return x
}

func (l *liveList) copy(most int) []liveModule {
	var found []liveModule
	for m := l.first; m != nil && len(found) < most; m = m.next {
		found = append(found, *m)
	}
	return found
}

// shootWaits copies why ready modules do not run.
func (s *liveState) shootWaits(x *liveShot, rows int) {
	plain := s.counts[report.Ready] // that wait only for a slot
	add := func(who, word, why string) {
		if x.waitsN++; len(x.waits) < rows {
			x.waits = append(x.waits, liveWait{who, word, why})
		}
	}
	s.queue(func(m *liveModule, l *liveLane) {
		switch {
		case l != nil && l.missing != "" && l.spoken == m:
			plain -= l.ready
			add(andMore(m.name, l.ready-1), "waiting", withClosest(l.missing, l.closest))
		case l == nil && m.why != "":
			plain--
			add(m.name, "waiting", withClosest(m.why, m.closest))
		}
	})
	s.queue(func(m *liveModule, l *liveLane) {
		if m.why != "" || l != nil && l.missing != "" {
			return
		}
		if why := s.held(m); why != "" {
			plain--
			add(m.name, "ready", why)
		}
	})
	for m := s.retrying.first; m != nil && len(x.waits) < rows; m = m.next {
		add(m.name, "retrying", retryWhen(m, x.now))
	}
	x.waitsN += max(0, s.retrying.size-countWaits(x.waits, "retrying"))
	if plain > 0 {
		add(fmt.Sprintf("(%s)", phrase.Count(plain, "module")), "ready", "for a free slot")
	}
}

// queue visits the ready modules with a known reason to wait, with their lane, which is
// nil when it is unknown.
func (s *liveState) queue(visit func(m *liveModule, l *liveLane)) {
	looked := 0
	for m := s.queued.first; m != nil && looked < queueLook; m, looked = m.next, looked+1 {
		var l *liveLane
		if m.lane != "" {
			l = s.lanes[m.lane]
		}
		visit(m, l)
	}
}

func countWaits(waits []liveWait, word string) (n int) {
	for _, w := range waits {
		if w.word == word {
			n++
		}
	}
	return n
}

func withClosest(missing, closest string) string {
	if closest == "" {
		return missing
	}
	return missing + "; closest is " + closest
}

func andMore(name string, n int) string {
	if n <= 0 {
		return name
	}
	return fmt.Sprintf("%s and %d more", name, n)
}

func retryWhen(m *liveModule, now time.Time) string {
	when := "immediately"
	if d := m.retryAt.Sub(now); d > 0 {
		when = "in " + phrase.Seconds(d.Seconds())
	}
	return phrase.Join(": ", when+fmt.Sprintf(" after attempt %d", m.attempt), m.why)
}

// held returns the key or limit for which a module waits; "" when it is unknown.
func (s *liveState) held(m *liveModule) string {
	if s.alone != nil {
		return "for " + s.alone.name + ", which runs alone"
	}
	if m.alone && s.running.size > 0 {
		return fmt.Sprintf("runs alone, so for the %d that run", s.running.size)
	}
	for _, h := range m.holds {
		holders := s.holders[h]
		most, limit := s.limits[h]
		switch {
		case limit && len(holders) >= most:
			return fmt.Sprintf("for the limit %s, %d of %d taken", h, len(holders), most)
		case !limit && len(holders) > 0:
			return "for the key " + h + ", which " + holders[0].name + " has"
		}
	}
	return ""
}

// slowestText returns one line with the slowest modules.
func slowestText(modules []liveModule) string {
	var parts []string
	for i := range modules {
		parts = append(parts, modules[i].name+" "+phrase.Seconds(modules[i].took.Seconds()))
	}
	return strings.Join(parts, ", ")
}
