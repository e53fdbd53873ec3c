package main

import (
	"strings"
	"testing"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/chaos/watch"
)

const ms = time.Millisecond

// sound is the evidence of a run of two modules with one key. The first lost a paused
// worker, and the fence refused it.
func sound() *evidence {
	p := plan{run: "r", limit: 1, modules: []module{
		{name: "a", keys: []string{"k1"}},
		{name: "b", keys: []string{"k1"}, needs: []need{{"a", false}}},
	}}
	key := []watch.Lock{{Name: "r/k1", Capacity: 1, Weight: 1}}
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(d time.Duration) time.Time { return began.Add(d) }
	claim := func(seq uint64, d time.Duration, cell jobs.ModuleID, n jobs.Attempt, worker string) jobs.Entry {
		return jobs.Entry{Sequence: seq, Time: at(d), Cell: cell, Record: jobs.Record{Claim: &jobs.Claim{Attempt: n, Worker: worker}}}
	}
	outcome := func(seq uint64, d time.Duration, cell jobs.ModuleID, n jobs.Attempt, status report.AttemptStatus, worker, by string) jobs.Entry {
		o := &jobs.Outcome{Attempt: n, Status: status, Worker: worker}
		if by != "" {
			o.Outputs = jobs.OutputsOf(map[string]string{"by": by})
		}
		return jobs.Entry{Sequence: seq, Time: at(d), Cell: cell, Record: jobs.Record{Outcome: o}}
	}
	return &evidence{
		began: began,
		runs:  []submitted{{plan: p}},
		execs: []watch.Exec{
			{
				ID: 1, Hello: watch.Hello{Run: "r", Module: "a", Attempt: 1, Worker: "w1", Token: 3, Locks: key},
				Start: 10 * ms, Last: 4000 * ms, Refused: []watch.Refusal{{At: 4040 * ms, Lock: "r/k1"}}, Gone: 4041 * ms,
			},
			{
				ID: 2, Hello: watch.Hello{Run: "r", Module: "a", Attempt: 2, Worker: "w2", Token: 6, Locks: key},
				Start: 4030 * ms, Last: 4100 * ms, Bye: 4100 * ms, Gone: 4101 * ms,
			},
			{
				ID: 3, Hello: watch.Hello{
					Run: "r", Module: "b", Attempt: 1, Worker: "w2", Token: 9, Locks: key,
					Needs: map[string]watch.Need{"a": {Status: statusSucceeded, By: "2"}},
				},
				Start: 4200 * ms, Last: 4300 * ms, Bye: 4300 * ms, Gone: 4301 * ms,
			},
		},
		pauses: map[string][]interval{"w1": {{20 * ms, 4050 * ms}}},
		logs: map[string][]jobs.Entry{"r": {
			{Sequence: 1, Time: at(0), Record: jobs.Record{Spec: &jobs.Spec{}}},
			{Sequence: 2, Time: at(ms), Record: jobs.Record{Takeover: &jobs.Takeover{Epoch: 1}}},
			claim(3, 9*ms, "a", 1, "w1"),
			outcome(4, 4020*ms, "a", 1, report.AttemptLost, "w1", ""),
			{Sequence: 5, Time: at(4021 * ms), Record: jobs.Record{Takeover: &jobs.Takeover{Epoch: 2}}},
			claim(6, 4025*ms, "a", 2, "w2"),
			outcome(7, 4102*ms, "a", 2, report.AttemptSucceeded, "w2", "2"),
			claim(9, 4195*ms, "b", 1, "w2"),
			outcome(10, 4302*ms, "b", 1, report.AttemptSucceeded, "w2", "3"),
			{Sequence: 11, Time: at(4310 * ms), Record: jobs.Record{End: &jobs.End{Status: report.RunSucceeded}}},
		}},
		reports: map[string]report.Report{"r": {Status: report.RunSucceeded, Modules: []report.Module{
			{Name: "a", Status: statusSucceeded}, {Name: "b", Status: statusSucceeded},
		}}},
	}
}

func TestSoundEvidence(t *testing.T) {
	if wrong := sound().verify(); len(wrong) > 0 {
		t.Errorf("it is sound, but: %s", strings.Join(wrong, "\n"))
	}
}

// TestBadEvidence damages the evidence in one place at a time. The check must name the
// fault.
func TestBadEvidence(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(e *evidence)
		says  string
	}{
		{"a module ended otherwise", func(e *evidence) { e.reports["r"].Modules[1].Status = statusFailed }, `module b ended "failed"`},
		{"the run ended otherwise", func(e *evidence) {
			r := e.reports["r"]
			r.Status = report.RunFailed
			e.reports["r"] = r
		}, `ended "failed"`},
		{"no report", func(e *evidence) { delete(e.reports, "r") }, "has no report"},
		{"no log", func(e *evidence) { delete(e.logs, "r") }, "has no log"},
		{"no end", func(e *evidence) { e.logs["r"] = e.logs["r"][:9] }, "has not ended"},
		{"a record after the end", func(e *evidence) {
			e.logs["r"] = append(e.logs["r"], jobs.Entry{Sequence: 12, Cell: "b", Record: jobs.Record{Claim: &jobs.Claim{Attempt: 2}}})
		}, "record 12 is after its end"},
		{"an attempt with two outcomes", func(e *evidence) {
			log := e.logs["r"]
			log[5].Record = jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptFailed}}
		}, "its attempt does not follow the one before"},
		{"a success that was overwritten", func(e *evidence) {
			e.logs["r"][3].Record.Outcome.Status = report.AttemptSucceeded
		}, "it had succeeded"},
		{"an open attempt", func(e *evidence) {
			log := e.logs["r"]
			e.logs["r"] = append(log[:8:8], log[9])
		}, "attempt 1 of b is open"},
		{"an old epoch", func(e *evidence) { e.logs["r"][4].Record.Takeover.Epoch = 1 }, "has epoch 1 after 1"},
		{"an execution without an outcome", func(e *evidence) { e.execs[2].Attempt = 2 }, "its attempt has no outcome"},
		{"another's result", func(e *evidence) { e.logs["r"][8].Record.Outcome.Worker = "w1" }, "its result was committed by w1"},
		{"a token that is no claim", func(e *evidence) { e.execs[2].Token = 8 }, "the claim of its attempt is 9"},
		{"two of one token", func(e *evidence) { e.execs[1].Token = 3 }, "has the token of #1"},
		{"no token", func(e *evidence) { e.execs[2].Token = 0 }, "its token is 0"},
		{"a start before the need's end", func(e *evidence) { e.execs[1].Bye, e.execs[1].Last, e.execs[1].Gone = 4250*ms, 4250*ms, 4251*ms }, "started before a, which it needs, had ended"},
		{"a claim before the need's outcome", func(e *evidence) {
			log := e.logs["r"]
			log[6].Sequence, log[7].Sequence = 9, 7
		}, "b began before a"},
		{"a result that was not committed", func(e *evidence) {
			e.execs[2].Needs = map[string]watch.Need{"a": {Status: statusSucceeded, By: "7"}}
		}, "saw the result of #7"},
		{"another status", func(e *evidence) { e.execs[2].Needs = map[string]watch.Need{"a": {Status: statusIgnored}} }, `was told that a is "ignored_failure"`},
		{"a need it was not told of", func(e *evidence) { e.execs[2].Needs = nil }, "was not told how a ended"},
		{"a key held twice, and refused", func(e *evidence) { e.pauses = nil }, "lock r/k1 was held by too many"},
		{"a key held twice, unnoticed by the fence", func(e *evidence) {
			e.pauses = nil
			e.execs[0].Refused = nil
			e.execs[0].Last = 4050 * ms
		}, "lock r/k1 was held by too many"},
		{"a fence that let an old one through", func(e *evidence) {
			e.execs[0].Refused = nil
			e.execs[0].Last = 4040 * ms
		}, "lock r/k1 was held by too many"},
		{"tokens that do not grow", func(e *evidence) { e.execs[1].Token, e.execs[2].Token = 9, 6 }, "lock r/k1 was held by too many"},
		{"a pause that was over long before", func(e *evidence) {
			e.pauses["w1"] = []interval{{-10 * time.Second, -9 * time.Second}}
		}, "lock r/k1 was held by too many"},
		{"a start after the run's end", func(e *evidence) { e.logs["r"][9].Time = e.began.Add(4000 * ms) }, "after the end of its run"},
		{"a wrong input", func(e *evidence) { e.execs[2].Fault = "the output of a has 3 bytes" }, "has 3 bytes"},
		{"an unknown module", func(e *evidence) { e.execs[2].Module = "c" }, "no plan asked for it"},
		{"a command that stays", func(e *evidence) { e.execs[2].Gone = 0 }, "it is still there"},
		{"a process that is left", func(e *evidence) { e.processes = map[string][]int{"r": {42}} }, "its processes [42] are left"},
		{"a job that is left", func(e *evidence) { e.queued = map[string]int{"r": 2} }, "2 of its jobs are left"},
		{"something else that is left", func(e *evidence) { e.left = []string{"the lease of r"} }, "the lease of r is left"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := sound()
			c.spoil(e)
			if wrong := strings.Join(e.verify(), "\n"); !strings.Contains(wrong, c.says) {
				t.Errorf("%q is not in what it says:\n%s", c.says, wrong)
			}
		})
	}
}

// TestLimits counts holders of a limit, and lets one module have its run.
func TestLimits(t *testing.T) {
	holder := func(id, capacity, weight int, from, to time.Duration) watch.Exec {
		return watch.Exec{
			ID: id, Hello: watch.Hello{Worker: "w", Token: uint64(id), Locks: []watch.Lock{{Name: "l", Capacity: capacity, Weight: weight}}},
			Start: from, Last: to, Bye: to, Gone: to + ms,
		}
	}
	for _, c := range []struct {
		name  string
		execs []watch.Exec
		ok    bool
	}{
		{"two of two", []watch.Exec{holder(1, 2, 1, 1*ms, 9*ms), holder(2, 2, 1, 2*ms, 8*ms), holder(3, 2, 1, 10*ms, 11*ms)}, true},
		{"three of two", []watch.Exec{holder(1, 2, 1, 1*ms, 9*ms), holder(2, 2, 1, 2*ms, 8*ms), holder(3, 2, 1, 5*ms, 11*ms)}, false},
		{"alone after others", []watch.Exec{holder(1, wholeRun, 1, 1*ms, 9*ms), holder(2, wholeRun, 1, 2*ms, 8*ms), holder(3, wholeRun, wholeRun, 10*ms, 11*ms)}, true},
		{"alone beside another", []watch.Exec{holder(1, wholeRun, wholeRun, 1*ms, 9*ms), holder(2, wholeRun, 1, 2*ms, 8*ms)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var wrong []string
			e := evidence{execs: c.execs}
			e.verifyLocks(func(format string, _ ...any) { wrong = append(wrong, format) })
			if (len(wrong) == 0) != c.ok {
				t.Errorf("it says %q", wrong)
			}
		})
	}
}

// TestDeadHolder checks a holder that was killed. It holds until some moment between its
// last message and the end of its connection.
func TestDeadHolder(t *testing.T) {
	key := []watch.Lock{{Name: "k", Capacity: 1, Weight: 1}}
	e := evidence{execs: []watch.Exec{
		{ID: 1, Hello: watch.Hello{Worker: "w1", Token: 1, Locks: key}, Start: 1 * ms, Last: 20 * ms, Gone: 60 * ms},
		{ID: 2, Hello: watch.Hello{Worker: "w2", Token: 2, Locks: key}, Start: 50 * ms, Last: 70 * ms, Bye: 70 * ms, Gone: 71 * ms},
	}}
	var wrong []string
	say := func(format string, _ ...any) { wrong = append(wrong, format) }
	if e.verifyLocks(say); len(wrong) > 0 {
		t.Errorf("it may have been dead: %q", wrong)
	}
	e.execs[0].Last = 51 * ms
	if e.verifyLocks(say); len(wrong) == 0 {
		t.Error("it was heard beside the next one")
	}
}
