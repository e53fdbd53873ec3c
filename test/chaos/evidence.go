package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/chaos/watch"
)

// evidence is everything that a phase has left behind.
type evidence struct {
	began     time.Time // zero of the recorder's clock
	execs     []watch.Exec
	pauses    map[string][]interval // of workers, by name
	stalls    []interval            // pauses of the whole machine
	losses    []interval            // times of which NATS has lost acknowledged messages
	forgot    map[string]bool       // runs that NATS has lost altogether
	runs      []submitted
	logs      map[string][]jobs.Entry
	reports   map[string]report.Report
	processes map[string][]int // those that are left, by run
	queued    map[string]int   // jobs that are left, by run
	left      []string         // everything else that is left
}

// submitted is a submitted run.
type submitted struct {
	plan      plan
	cancelled bool // a cancellation was requested, in time or not
}

// interval is a stretch of the recorder's clock.
type interval struct{ from, to time.Duration }

// verify lists all faults in the evidence.
func (e *evidence) verify() []string {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, s := range e.runs {
		e.verifyEnd(s, say)
		e.verifyLog(s, say)
		if n := e.queued[s.plan.run]; n > 0 {
			say("%s: %d of its jobs are left in the queue", s.plan.run, n)
		}
		if pids := e.processes[s.plan.run]; len(pids) > 0 {
			say("%s: its processes %v are left", s.plan.run, pids)
		}
	}
	for run, pids := range e.processes {
		if e.forgot[run] {
			say("%s: its processes %v are left, though NATS has lost the run", run, pids)
		}
	}
	e.verifyExecs(say)
	e.verifyLocks(say)
	for _, what := range e.left {
		say("%s is left", what)
	}
	return wrong
}

// verifyEnd compares a run's report with the fates of its plan.
func (e *evidence) verifyEnd(s submitted, say func(string, ...any)) {
	rep, ok := e.reports[s.plan.run]
	if !ok {
		say("%s: has no report", s.plan.run)
		return
	}
	if want := s.plan.verdicts(s.cancelled); !slices.Contains(want, string(rep.Status)) {
		say("%s: ended %q, want one of %q", s.plan.run, rep.Status, want)
	}
	want := s.plan.fates(s.cancelled)
	for _, m := range rep.Modules {
		if !slices.Contains(want[m.Name], string(m.Status)) {
			say("%s: module %s ended %q (%s%s), want one of %q", s.plan.run, m.Name, m.Status, m.Error, m.Reason, want[m.Name])
		}
	}
	if len(rep.Modules) != len(s.plan.modules) {
		say("%s: %d modules in the report, want %d", s.plan.run, len(rep.Modules), len(s.plan.modules))
	}
}

// sorry reports whether a worker was paused in a stretch of time, or just before it. Its
// actions then are no faults, because only the fence can stop them.
func (e *evidence) sorry(worker string, from, to time.Duration) (since time.Duration, ok bool) {
	for _, all := range [][]interval{e.pauses[worker], e.stalls} {
		for _, p := range all {
			if p.from < to && p.to+justBefore > from {
				return max(p.from, from), true
			}
		}
	}
	return 0, false
}

// lost reports whether NATS may have lost the records of an execution, or of its start.
func (e *evidence) lost(x *watch.Exec) bool {
	return e.forgot[x.Run] || slices.ContainsFunc(e.losses, func(l interval) bool { return x.Start < l.to && (x.Gone == 0 || x.Gone > l.from) })
}

// justBefore is the time after a pause in which a decision from before it may still have
// an effect.
const justBefore = 2 * time.Second
