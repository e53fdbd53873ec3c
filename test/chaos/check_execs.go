package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/chaos/watch"
)

// overlaps names the executions that held a lock at the same time.
func (e *evidence) overlaps(lock string) string {
	var holders []watch.Exec
	for _, x := range e.execs {
		if slices.ContainsFunc(x.Locks, func(l watch.Lock) bool { return l.Name == lock }) {
			holders = append(holders, x)
		}
	}
	var b strings.Builder
	for i, x := range holders {
		for _, y := range holders[i+1:] {
			if x.Gone == 0 || y.Start < x.Gone {
				if _, ok := e.sorry(x.Worker, x.Start, y.Start); !ok {
					fmt.Fprintf(&b, "; %s beside %s", describe(&x), describe(&y))
				}
			}
		}
		if _, ok := e.sorry(x.Worker, x.Start, x.Gone); len(x.Refused) > 0 && !ok {
			fmt.Fprintf(&b, "; refused: %s", describe(&x))
		}
	}
	return b.String()
}

func describe(x *watch.Exec) string {
	return fmt.Sprintf("#%d %s/%s attempt %d on %s, token %d, %v to %v", x.ID, x.Run, x.Module, x.Attempt, x.Worker, x.Token,
		x.Start.Round(time.Millisecond), x.Gone.Round(time.Millisecond))
}

// verifyExecs checks the values that commands received, and when the commands ran.
func (e *evidence) verifyExecs(say func(string, ...any)) {
	plans := map[string]*plan{}
	for i := range e.runs {
		plans[e.runs[i].plan.run] = &e.runs[i].plan
	}
	tokens := map[uint64]*watch.Exec{}
	for i := range e.execs {
		x := &e.execs[i]
		if x.Gone == 0 {
			say("%s: it is still there", describe(x))
		}
		p := plans[x.Run]
		if e.forgot[x.Run] {
			continue // beside its locks and its end, nothing is left to compare it with
		}
		if p == nil || p.module(x.Module) == nil {
			say("%s: no plan asked for it", describe(x))
			continue
		}
		if x.Fault != "" {
			say("%s: %s", describe(x), x.Fault)
		}
		if keyed := p.keyed(p.module(x.Module)); keyed != (x.Token > 0) {
			say("%s: its token is %d", describe(x), x.Token)
		}
		if other := tokens[x.Token]; x.Token > 0 && other != nil {
			say("%s has the token of %s", describe(x), describe(other))
		}
		tokens[x.Token] = x
		if e.lost(x) {
			continue // its attempt may have been done again
		}
		e.verifyNeeds(x, p.module(x.Module), say)
		e.verifyCommitted(x, say)
	}
}

// verifyNeeds checks that a command started after its needs had ended, and that it
// received their committed results.
func (e *evidence) verifyNeeds(x *watch.Exec, m *module, say func(string, ...any)) {
	for _, n := range m.needs {
		saw, ok := x.Needs[n.name]
		if !ok {
			say("%s: was not told how %s ended", describe(x), n.name)
			continue
		}
		rep := e.reports[x.Run]
		i := slices.IndexFunc(rep.Modules, func(r report.Module) bool { return r.Name == n.name })
		if i >= 0 && rep.Modules[i].Status != report.Status(saw.Status) {
			say("%s: was told that %s is %q, but it ended %q", describe(x), n.name, saw.Status, rep.Modules[i].Status)
		}
		if saw.Status != statusSucceeded && saw.Status != statusFailed && saw.Status != statusIgnored {
			continue // it may have ended without a command
		}
		before := func(y watch.Exec) bool {
			return y.Run == x.Run && y.Module == n.name && (saw.By == "" || saw.By == fmt.Sprint(y.ID)) &&
				(y.Bye > 0 && y.Bye < x.Start || y.Gone > 0 && y.Gone < x.Start)
		}
		if !slices.ContainsFunc(e.execs, before) {
			say("%s: started before %s, which it needs, had ended (saw the result of #%s)", describe(x), n.name, saw.By)
		}
	}
}

// verifyCommitted checks that an execution belongs to an attempt with an outcome, that
// the attempt's result is the one of this execution, and that it started within its run.
func (e *evidence) verifyCommitted(x *watch.Exec, say func(string, ...any)) {
	closed := false
	for _, entry := range e.logs[x.Run] {
		if end := entry.Record.End; end != nil {
			late := e.began.Add(x.Start).Sub(entry.Time)
			if _, ok := e.sorry(x.Worker, x.Start, x.Start); late > clockDrift && !ok {
				say("%s: started %v after the end of its run", describe(x), late)
			}
		}
		o := entry.Record.Outcome
		if o == nil || string(entry.Cell) != x.Module || int(o.Attempt) != x.Attempt {
			continue
		}
		closed = true
		outputs, _ := o.Outputs.Outputs()
		if by := outputs["by"]; by == fmt.Sprint(x.ID) && o.Worker != x.Worker {
			say("%s: its result was committed by %s", describe(x), o.Worker)
		}
	}
	if !closed {
		say("%s: its attempt has no outcome", describe(x))
	}
}

// clockDrift bounds the difference between the recorder's and the server's clock. Both
// are the machine's clock, read at different moments.
const clockDrift = 100 * time.Millisecond
