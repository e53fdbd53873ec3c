package schedule_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// TestSemantics plays small pipelines and compares how every module ends, in
// words.
func TestSemantics(t *testing.T) {
	tests := []struct {
		name  string
		src   string
		ends  func(string, jobs.Attempt) jobs.Outcome
		slots int // 2 unless said
		run   report.RunStatus
		want  map[string]string
	}{
		{
			name: "a skip cascades and names its root",
			src: `
name: p
modules:
  a: {command: ["true"], if: "1 == 2"}
  b: {command: ["true"], needs: a}
  c: {command: ["true"], needs: b}
  d: {command: ["true"], needs: [{module: a, optional: true}]}
`,
			ends: ok, run: report.RunSucceeded,
			want: map[string]string{
				"a": "skipped (its condition is false: 1 == 2)",
				"b": "skipped (a was skipped: its condition is false: 1 == 2)",
				"c": "skipped (a was skipped: its condition is false: 1 == 2)",
				"d": "succeeded",
			},
		},
		{
			name: "a failure ends what depends on it and, fail-fast, all else; its error names the culprit",
			src: `
name: p
modules:
  a: {command: ["true"]}
  b: {command: ["true"], needs: a}
  c: {command: ["true"], needs: b}
  x: {command: ["true"], needs: y}
  y: {command: ["true"], needs: z}
  z: {command: ["true"], priority: low}
  last: {command: ["true"], needs: [c, x], always-run: true}
  behind: {command: ["true"], needs: last}
`,
			ends: failing("a"), slots: 1, run: report.RunFailed,
			want: map[string]string{
				"a": "failed (exit code 1)", "b": "dependency_failed (a failed: exit code 1)", "c": "dependency_failed (a failed: exit code 1)",
				"z": "cancelled (a failed (fail-fast))", "y": "cancelled (a failed (fail-fast))", "x": "cancelled (a failed (fail-fast))",
				"last": "succeeded", "behind": "cancelled (a failed (fail-fast))",
			},
		},
		{
			name: "fail-slow goes on with what does not depend on the failure",
			src: `
name: p
fail-fast: false
modules:
  a: {command: ["true"]}
  b: {command: ["true"], needs: [a]}
  x: {command: ["true"]}
  y: {command: ["true"], needs: [x]}
  last: {command: ["true"], needs: [b], always-run: true}
  behind: {command: ["true"], needs: last}
`,
			ends: failing("a"), run: report.RunFailed,
			want: map[string]string{
				"a": "failed (exit code 1)", "b": "dependency_failed (a failed: exit code 1)",
				"x": "succeeded", "y": "succeeded", "last": "succeeded", "behind": "succeeded",
			},
		},
		{
			name: "an ignored failure lets dependents run",
			src: `
name: p
modules:
  a: {command: ["true"], ignore-failure: true}
  b: {command: ["true"], needs: a, if: needs.a.status == 'ignored_failure'}
  c: {command: ["true"], if: "fromJSON('x') == 1", ignore-failure: true}
`,
			ends: failing("a"), run: report.RunSucceeded,
			want: map[string]string{"a": "ignored_failure (exit code 1)", "b": "succeeded"},
		},
		{
			name: "an optional need that failed is a failure",
			src: `
name: p
fail-fast: false
modules:
  a: {command: ["true"]}
  b: {command: ["true"], needs: [{module: a, optional: true}]}
`,
			ends: failing("a"), run: report.RunFailed,
			want: map[string]string{"a": "failed (exit code 1)", "b": "dependency_failed (a failed: exit code 1)"},
		},
		{
			name: "failure decides before a skip, whichever need ended first",
			src: `
name: p
fail-fast: false
modules:
  a: {command: ["true"], if: "false"}
  b: {command: ["true"]}
  c: {command: ["true"], needs: [a, b]}
  d: {command: ["true"], needs: [b, a]}
`,
			ends: failing("b"), run: report.RunFailed,
			want: map[string]string{
				"a": "skipped (its condition is false: false)", "b": "failed (exit code 1)",
				"c": "dependency_failed (b failed: exit code 1)", "d": "dependency_failed (b failed: exit code 1)",
			},
		},
		{
			name: "an always-run module all of whose needs were skipped is skipped, unless they were optional",
			src: `
name: p
modules:
  a: {command: ["true"], if: "false"}
  b: {command: ["true"]}
  all: {command: ["true"], needs: [a], always-run: true}
  some: {command: ["true"], needs: [a, b], always-run: true}
  optional: {command: ["true"], needs: [{module: a, optional: true}], always-run: true}
`,
			ends: ok, run: report.RunSucceeded,
			want: map[string]string{
				"a": "skipped (its condition is false: false)", "b": "succeeded",
				"all": "skipped (a was skipped: its condition is false: false)", "some": "succeeded", "optional": "succeeded",
			},
		},
		{
			name: "a family is expanded when what its axes read has ended; same picks members",
			src: `
name: p
modules:
  list: {command: ["true"], outputs: [all]}
  work: {command: ["true"], needs: list, matrix: {x: "${{ fromJSON(needs.list.outputs.all) }}"}}
  check: {command: ["true"], needs: [list, {module: work, same: [x]}], matrix: {x: "${{ fromJSON(needs.list.outputs.all) }}"}}
  merge: {command: ["true"], needs: [work, check]}
`,
			ends: func(name string, _ jobs.Attempt) jobs.Outcome {
				o := jobs.Outcome{Status: report.AttemptSucceeded}
				if name == "list" {
					o.Outputs = jobs.OutputsOf(map[string]string{"all": `["a", 1]`})
				}
				return o
			},
			run: report.RunSucceeded,
			want: map[string]string{
				"list": "succeeded", "work (x=a)": "succeeded", "work (x=1)": "succeeded",
				"check (x=a)": "succeeded", "check (x=1)": "succeeded", "merge": "succeeded",
			},
		},
		{
			name: "an empty family is skipped; one whose axis is no list fails",
			src: `
name: p
fail-fast: false
modules:
  list: {command: ["true"], outputs: [none, wrong]}
  none: {command: ["true"], needs: list, matrix: {x: "${{ fromJSON(needs.list.outputs.none) }}"}}
  after: {command: ["true"], needs: none}
`,
			ends: func(string, jobs.Attempt) jobs.Outcome {
				return jobs.Outcome{Status: report.AttemptSucceeded, Outputs: jobs.OutputsOf(map[string]string{"none": "[]"})}
			},
			run:  report.RunSucceeded,
			want: map[string]string{"list": "succeeded", "none": "skipped (its matrix is empty)", "after": "skipped (none was skipped: its matrix is empty)"},
		},
		{
			name: "no capable worker: an end in words, without an attempt",
			src: `
name: p
modules:
  a: {command: ["true"], requires: {os: windows, tags: [gpu]}, queue-timeout: 1m, retry: {attempts: 3}}
  b: {command: ["true"], needs: a}
`,
			ends: ok, run: report.RunFailed,
			want: map[string]string{
				"a": "failed (no capable worker within 1m0s (queue-timeout): missing os windows, tag gpu; w comes closest)",
				"b": "dependency_failed (a failed: no capable worker within 1m0s (queue-timeout): missing os windows, tag gpu; w comes closest)",
			},
		},
		{
			name: "losses are counted, and named",
			src: `
name: p
modules: {a: {command: ["true"], max-losses: 2}}
`,
			ends: func(string, jobs.Attempt) jobs.Outcome { return jobs.Outcome{Status: report.AttemptLost} },
			run:  report.RunFailed,
			want: map[string]string{"a": "failed (worker lost 2 times: w, w)"},
		},
		{
			name: "hand-backs by machines that cannot begin a module are counted, and named with their reasons",
			src: `
name: p
modules: {a: {command: ["true"], max-losses: 3}}
`,
			ends: func(_ string, n jobs.Attempt) jobs.Outcome {
				if n == 2 { // a worker that goes hands back without a count
					return jobs.Outcome{Status: report.AttemptHandedBack, Error: "told to go"}
				}
				return jobs.Outcome{Status: report.AttemptHandedBack, Unable: true, Error: "no space left on device"}
			},
			run:  report.RunFailed,
			want: map[string]string{"a": "failed (no machine could begin it in 3 attempts (max-losses): w: no space left on device)"},
		},
		{
			name: "a machine that cannot begin a module does not fail it while others can",
			src: `
name: p
modules: {a: {command: ["true"], max-losses: 3}}
`,
			ends: func(_ string, n jobs.Attempt) jobs.Outcome {
				if n < 3 {
					return jobs.Outcome{Status: report.AttemptHandedBack, Unable: true, Error: "no space left on device"}
				}
				return jobs.Outcome{Status: report.AttemptSucceeded}
			},
			run:  report.RunSucceeded,
			want: map[string]string{"a": "succeeded"},
		},
		{
			name: "the deadline cancels the run",
			src: `
name: p
deadline: 2s
modules:
  a: {command: ["true"]}
  b: {command: ["true"], needs: a}
  c: {command: ["true"], needs: b}
  last: {command: ["true"], needs: c, always-run: true}
`,
			ends: ok, run: report.RunCancelled,
			want: map[string]string{
				"a": "succeeded", "b": "succeeded", "c": "cancelled (the run was cancelled: its deadline of 2s has passed)", "last": "succeeded",
			},
		},
		{
			name: "the deadline leaves the error that a module was retrying after",
			src: `
name: p
deadline: 2s
modules:
  a: {command: ["true"], retry: {attempts: 10, delay: 10s}}
  b: {command: ["true"], needs: a}
`,
			ends: failing("a"), run: report.RunCancelled,
			want: map[string]string{
				"a": "cancelled (attempt 1: exit code 1)", "b": "cancelled (the run was cancelled: its deadline of 2s has passed)",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlayer(t, tt.src, tt.ends)
			if tt.slots == 0 {
				tt.slots = 2
			}
			rep := p.play(tt.slots)
			got := ended(rep)
			if tt.name == "an ignored failure lets dependents run" {
				if !strings.HasPrefix(got["c"], "ignored_failure (if: ") {
					t.Errorf("c: %s", got["c"])
				}
				delete(got, "c")
			}
			if diff := cmp.Diff(listing(tt.want), listing(got)); diff != "" {
				t.Error(diff)
			}
			if rep.Status != tt.run {
				t.Errorf("the run is %s, want %s", rep.Status, tt.run)
			}
		})
	}
}

// TestRetries: attempts that ran to an end count, hand-backs and losses do
// not; every attempt has a number; exit codes filter.
func TestRetries(t *testing.T) {
	const src = `
name: p
modules: {a: {command: ["true"], retry: {attempts: 3, delay: 8s, exit-codes: [75]}}}
`
	code := func(c int) jobs.Outcome {
		return jobs.Outcome{Status: report.AttemptFailed, ExitCode: &c, Error: "exit code"}
	}
	script := []jobs.Outcome{code(75), {Status: report.AttemptHandedBack}, {Status: report.AttemptLost}, code(75), {Status: report.AttemptSucceeded}}
	p := newPlayer(t, src, func(_ string, n jobs.Attempt) jobs.Outcome { return script[n-1] })
	rep := p.play(1)
	var got []string
	for i, a := range rep.Modules[0].Attempts {
		if a.Number != i+1 {
			t.Errorf("attempt %d has number %d", i+1, a.Number)
		}
		got = append(got, string(a.Status))
	}
	if diff := cmp.Diff([]string{"failed", "handed_back", "lost", "failed", "succeeded"}, got); diff != "" {
		t.Error(diff)
	}
	var delays []float64
	for _, e := range p.events {
		if e.Event == report.EventModuleRetrying {
			delays = append(delays, *e.In)
		}
	}
	if len(delays) != 4 || delays[0] < 8 || delays[0] > 10 || delays[1] != 0 || delays[2] != 0 || delays[3] < 16 || delays[3] > 20 {
		t.Errorf("delays are %v, want [8..10, 0, 0, 16..20]", delays)
	}

	p = newPlayer(t, src, func(string, jobs.Attempt) jobs.Outcome { return code(1) })
	if rep := p.play(1); len(rep.Modules[0].Attempts) != 1 {
		t.Errorf("exit code 1 was tried %d times, want once", len(rep.Modules[0].Attempts))
	}
}

// TestRetryDelayIsNeverShorterThanWritten: jitter adds up to a quarter, also
// where the delay has reached its bound.
func TestRetryDelayIsNeverShorterThanWritten(t *testing.T) {
	p := newPlayer(t, `
name: p
fail-fast: false
modules:
  a: {matrix: {i: [1, 2, 3, 4, 5, 6, 7, 8]}, command: ["true"], retry: {attempts: 4, delay: 4s, max-delay: 10s}}
`, func(string, jobs.Attempt) jobs.Outcome {
		return jobs.Outcome{Status: report.AttemptFailed, Error: "no"}
	})
	p.play(1)
	written := map[jobs.Attempt]float64{1: 4, 2: 8, 3: 10}
	distinct := map[float64]bool{}
	for _, e := range p.events {
		if e.Event != report.EventModuleRetrying {
			continue
		}
		distinct[*e.In] = true
		if least := written[jobs.Attempt(e.Attempt)]; *e.In < least || *e.In > least*1.25 {
			t.Errorf("%s is delayed by %vs after attempt %d, want %v to %v", e.Module, *e.In, e.Attempt, least, least*1.25)
		}
	}
	if len(distinct) < 12 {
		t.Errorf("24 retries have only %d distinct delays", len(distinct))
	}
}

// TestOrder: priority, then the longest remaining path, then the file.
func TestOrder(t *testing.T) {
	p := newPlayer(t, `
name: p
modules:
  first: {command: ["true"]}
  low: {command: ["true"], priority: low}
  chain: {command: ["true"]}
  behind: {command: ["true"], needs: chain}
  second: {command: ["true"]}
  high: {command: ["true"], priority: high}
  critical: {command: ["true"], priority: critical}
`, ok)
	p.play(1)
	want := []string{"critical", "high", "chain", "first", "behind", "second", "low"}
	if diff := cmp.Diff(want, p.order); diff != "" {
		t.Error(diff)
	}
}

// TestLateBinding: no more is published than there are slots while attempts
// take long, and a limit is a limit.
func TestLateBinding(t *testing.T) {
	src := `
name: p
limits: {l: {max: 2}}
modules:
  a: {command: ["true"], matrix: {x: [1, 2, 3, 4, 5, 6, 7, 8]}}
  b: {command: ["true"], needs: a, limit: l, matrix: {x: [1, 2, 3, 4, 5, 6]}}
`
	p := newPlayer(t, src, ok)
	p.play(3)
	if p.most != 3 {
		t.Errorf("%d jobs were out at once, want 3", p.most)
	}
	p = newPlayer(t, src, ok)
	p.before = func(p *player, _ int) {
		if len(p.order) <= 8 {
			p.most = 0
		}
	}
	p.play(16)
	if p.most != 2 {
		t.Errorf("%d jobs of a limit of 2 were out at once", p.most)
	}
}

// TestCancel: pending modules end, always-run ones run; the second
// cancellation ends these too; one that comes after the last module is too late.
func TestCancel(t *testing.T) {
	const src = `
name: p
modules:
  a: {command: ["true"]}
  b: {command: ["true"], needs: a}
  last: {command: ["true"], needs: b, always-run: true}
`
	p := newPlayer(t, src, ok)
	p.before = func(p *player, round int) {
		if round == 1 {
			p.cancel("1")
		}
	}
	rep := p.play(1)
	want := map[string]string{"a": "cancelled (the run was cancelled: enough)", "b": "cancelled (the run was cancelled: enough)", "last": "succeeded"}
	if diff := cmp.Diff(listing(want), listing(ended(rep))); diff != "" || rep.Status != report.RunCancelled {
		t.Errorf("%s %s", rep.Status, diff)
	}

	p = newPlayer(t, src, ok)
	p.before = func(p *player, round int) {
		if round == 1 {
			p.cancel("1")
			p.cancel("2")
		}
	}
	rep = p.play(1)
	want["last"] = "cancelled (the run was cancelled: enough)"
	if diff := cmp.Diff(listing(want), listing(ended(rep))); diff != "" || rep.Status != report.RunCancelled {
		t.Errorf("%s %s", rep.Status, diff)
	}

	p = newPlayer(t, src, ok)
	p.before = func(p *player, _ int) {
		if p.run.Live() == 0 && p.last["cancel"] == 0 {
			p.cancel("late")
		}
	}
	if rep = p.play(1); rep.Status != report.RunSucceeded || !p.run.TooLate("late") {
		t.Errorf("a late cancellation: %s, too late %t", rep.Status, p.run.TooLate("late"))
	}
}

// TestExclusive: a module that has to be alone is, and is not starved.
func TestExclusive(t *testing.T) {
	p := newPlayer(t, `
name: p
modules:
  a: {command: ["true"], matrix: {x: [1, 2, 3, 4]}}
  alone: {command: ["true"], not-in-parallel: true, priority: high}
`, ok)
	p.play(4)
	if p.order[0] != "alone" {
		t.Errorf("order %v", p.order)
	}
}

// TestFleetLoss: an absent worker is lost only when its time to live has
// passed on the observer's own clock, since it was last seen or since the
// watch restarted.
func TestFleetLoss(t *testing.T) {
	p := newPlayer(t, "name: p\nmodules: {a: {command: [\"true\"], timeout: 0}}", ok)
	f := p.fleet(1)
	p.d = schedule.NewDispatcher(p.run, f)
	publish := p.decideUntilPublished()
	p.write("a", "a", jobs.Record{Claim: &jobs.Claim{Attempt: publish.Attempt, Worker: "w", Incarnation: "w", Started: p.now}})
	if p.decideCloses() {
		t.Fatal("a live worker's attempt was closed")
	}
	p.now = p.now.Add(time.Second)
	f.WatchRestarted() // the server was restarted: its registry is empty
	f.WatchSynced(p.now)
	if p.decideCloses() {
		t.Fatal("closed before the time to live has passed on the observer's clock")
	}
	p.now = p.now.Add(testTTL)
	if !p.decideCloses() {
		t.Fatal("a lost worker's attempt was not closed")
	}
}

// TestAStackIsToldOnce: the run and what depends on a module that has panicked
// say so in one line.
func TestAStackIsToldOnce(t *testing.T) {
	const stack = "panic: no\n\nmain.a()\n\t/src/main.go:7"
	p := newPlayer(t, `
name: p
modules:
  a: {command: ["true"]}
  b: {command: ["true"], needs: a}
`, func(string, jobs.Attempt) jobs.Outcome {
		return jobs.Outcome{Status: report.AttemptFailed, Error: stack}
	})
	rep := p.play(1)
	got := []string{rep.Error, rep.Modules[0].Error, rep.Modules[1].Error}
	if diff := cmp.Diff([]string{"a failed: panic: no", stack, "a failed: panic: no"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestACancellationWithoutAReason says once who it was.
func TestACancellationWithoutAReason(t *testing.T) {
	p := newPlayer(t, "{name: p, modules: {a: {command: [x]}}}", ok)
	p.write("cancel", "", jobs.Record{Cancel: &jobs.Cancel{ID: "1", By: "me", Reason: "cancelled by me"}})
	if rep := p.play(0); rep.Error != "cancelled by me" {
		t.Errorf("the run says: %s", rep.Error)
	}
}

// TestSkippedAttempts: the attempt of a function that says Skip ran to its end;
// an attempt that only decided the condition does not count.
func TestSkippedAttempts(t *testing.T) {
	for name, tt := range map[string]struct {
		claims bool
		began  bool
		want   []report.AttemptStatus
	}{
		"a condition":                   {},
		"a condition that takes longer": {claims: true},
		"a function":                    {began: true, want: []report.AttemptStatus{report.AttemptSucceeded}},
		"a function that takes longer":  {claims: true, began: true, want: []report.AttemptStatus{report.AttemptSucceeded}},
	} {
		p := newPlayer(t, "{name: p, modules: {a: {command: [x]}}}", nil)
		p.d = schedule.NewDispatcher(p.run, p.fleet(1))
		job := p.decideUntilPublished()
		if tt.claims {
			p.write("a", job.Module, jobs.Record{Claim: &jobs.Claim{Attempt: 1, Worker: "w", Incarnation: "w"}})
		}
		o := &jobs.Outcome{Attempt: 1, Status: report.AttemptSkipped, Reason: "no need"}
		if tt.began {
			o.Started, o.Finished = p.now, p.now
		}
		p.write("a", job.Module, jobs.Record{Outcome: o})
		rep, err := p.run.Report(nil)
		if err != nil {
			t.Fatal(err)
		}
		m := rep.Modules[0]
		var got []report.AttemptStatus
		for _, a := range m.Attempts {
			got = append(got, a.Status)
		}
		if m.Status != "skipped" || m.Reason != "no need" || !cmp.Equal(got, tt.want) || (m.Started != nil) != tt.began {
			t.Errorf("%s: %s (%s), attempts %q, started %v", name, m.Status, m.Reason, got, m.Started)
		}
	}
}
