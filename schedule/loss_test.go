package schedule_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

const one = "name: p\nmodules: {a: {command: [\"true\"], timeout: 0}}"

// claimed is a run whose one module is claimed by this worker, with the fleet
// of an observer.
func claimed(t *testing.T, src string, c jobs.Claim) (*player, *schedule.Fleet) {
	t.Helper()
	p := newPlayer(t, src, ok)
	f := p.fleet(1)
	p.d = schedule.NewDispatcher(p.run, f)
	c.Attempt, c.Started = p.decideUntilPublished().Attempt, p.now
	p.write("a", "a", jobs.Record{Claim: &c})
	return p, f
}

// TestAJumpOfTheClockIsNoLoss: the log's clock follows the server's, whose
// jump expires entries early. How long a worker has been silent is measured by
// the observer's own.
func TestAJumpOfTheClockIsNoLoss(t *testing.T) {
	p, f := claimed(t, one, jobs.Claim{Worker: "w", Incarnation: "w"})
	jump := func(by time.Duration) {
		p.now = p.now.Add(by)
		f.AdjustClock(by)
	}
	p.now = p.now.Add(testTTL)
	f.Heartbeat(jobs.WorkerInfo{Name: "w", Incarnation: "w", Slots: 1}, p.now)
	jump(time.Hour)
	f.Removed("w", false)
	if p.decideCloses() {
		t.Fatal("closed since the clock jumped")
	}
	p.now = p.now.Add(testTTL)
	if !p.decideCloses() {
		t.Fatal("not closed when its time to live had passed")
	}
}

// TestASilentWatchIsNoLoss: a worker whose entry a jump of the server's clock
// has expired enters itself again. An orchestrator to which
// no message arrives does not know that it is lost.
func TestASilentWatchIsNoLoss(t *testing.T) {
	p, f := claimed(t, one, jobs.Claim{Worker: "w", Incarnation: "w"})
	f.Removed("w", false)
	f.WatchAlive(p.now)
	if p.decideCloses() {
		t.Fatal("closed at once")
	}
	due := p.now.Add(testTTL)
	p.now = due.Add(time.Minute)
	if p.decideCloses() {
		t.Fatal("closed while nothing was heard")
	}
	f.WatchAlive(due.Add(-time.Millisecond)) // and has come late
	if p.decideCloses() {
		t.Fatal("closed since something was heard that is too old")
	}
	f.WatchAlive(due)
	if !p.decideCloses() {
		t.Fatal("not closed when the watch had been heard of after the time to live")
	}
}

// TestAClaimIsHeardOfFirst: the log may tell of a claim before the registry
// tells of its worker, or that it is there again, or while it tells of the
// worker's earlier incarnation.
func TestAClaimIsHeardOfFirst(t *testing.T) {
	for _, c := range []jobs.Claim{
		{Worker: "new", Incarnation: "new"}, {Worker: "w", Incarnation: "started again"}, {Worker: "silent", Incarnation: "silent"},
	} {
		p := newPlayer(t, one, ok)
		f := p.fleet(1)
		f.Heartbeat(jobs.WorkerInfo{Name: "silent", Incarnation: "silent", Slots: 1}, p.now)
		p.d = schedule.NewDispatcher(p.run, f)
		c.Attempt = p.decideUntilPublished().Attempt
		p.now = p.now.Add(10 * testTTL)
		f.Removed("silent", false)
		c.Started = p.now.Add(-time.Hour) // the server's clock may have gone back, and stamps what it stores
		p.write("a", "a", jobs.Record{Claim: &c})
		if p.decideCloses() {
			t.Errorf("%s: closed before the registry could tell of its worker", c.Incarnation)
		}
		p.now = p.now.Add(testTTL)
		if !p.decideCloses() {
			t.Errorf("%s: not closed when the registry had not told of it for the time to live", c.Incarnation)
		}
	}
}

// TestAnIncarnationInAnothersPlace: a worker whose entry another incarnation
// has replaced is lost immediately.
func TestAnIncarnationInAnothersPlace(t *testing.T) {
	p, f := claimed(t, one, jobs.Claim{Worker: "w", Incarnation: "w"})
	f.Heartbeat(jobs.WorkerInfo{Name: "w", Incarnation: "started again", Slots: 1}, p.now)
	if !p.decideCloses() {
		t.Error("not closed")
	}
}

// TestARetryWaitsWhereverItIs: a module that waits for room, while a job of it
// by an earlier orchestrator runs and fails, waits for its delay then.
func TestARetryWaitsWhereverItIs(t *testing.T) {
	p := newPlayer(t, `
name: p
modules:
  a: {command: ["true"], retry: {attempts: 2, delay: 20s}}
  b: {command: ["true"], priority: high}
`, ok)
	p.d = schedule.NewDispatcher(p.run, p.fleet(1)) // has taken over, and does not know of a's job
	if first := p.decideUntilPublished(); first.Module != "b" {
		t.Fatalf("%+v", first)
	}
	p.write("a", "a", jobs.Record{Claim: &jobs.Claim{Attempt: 1, Worker: "w", Incarnation: "w", Started: p.now}})
	p.write("a", "a", jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptFailed, Worker: "w", Started: p.now, Finished: p.now}})
	p.finishFirst()
	for range 3 {
		actions, _ := p.d.Decide(p.now)
		for _, a := range actions {
			if publish, is := a.(schedule.Publish); is {
				t.Fatalf("published before its delay is over: %+v", publish)
			}
		}
	}
	p.now = p.now.Add(time.Minute)
	if again := p.decideUntilPublished(); again.Attempt != 2 {
		t.Errorf("%+v", again)
	}
}

// TestAMissingJobIsPublishedAgain: also when it seems to take the only slot.
func TestAMissingJobIsPublishedAgain(t *testing.T) {
	p := newPlayer(t, one, ok)
	p.d = schedule.NewDispatcher(p.run, p.fleet(1))
	id := p.decideUntilPublished().ID()
	p.queue = nil
	p.d.Missing(id)
	if again := p.decideUntilPublished(); again.ID() != id || !again.MaybeDuplicate {
		t.Errorf("%+v", again)
	}
}

// TestPastItsTimeIsTimedOut: a worker that is silent about what holds a key
// is asked to end it as timed out, not as cancelled.
func TestPastItsTimeIsTimedOut(t *testing.T) {
	p, f := claimed(t, "name: p\nmodules: {a: {command: [\"true\"], timeout: 1s, not-in-parallel: k}}", jobs.Claim{Worker: "w", Incarnation: "w"})
	p.now = p.now.Add(time.Minute)
	f.Heartbeat(jobs.WorkerInfo{Name: "w", Incarnation: "w", Slots: 1}, p.now)
	actions, _ := p.d.Decide(p.now)
	if !slices.ContainsFunc(actions, func(a schedule.Action) bool {
		ask, is := a.(schedule.Ask)
		return is && ask.Cancel.TimedOut
	}) {
		t.Errorf("it is not told so: %+v", actions)
	}
}

// TestNothingIsDueAfterTheLastModule: while the end is written, which may take
// long, a deadline that passes does not wake the dispatcher again and again.
func TestNothingIsDueAfterTheLastModule(t *testing.T) {
	p := newPlayer(t, "name: p\ndeadline: 10s\nmodules: {a: {command: [\"true\"]}}", ok)
	p.d = schedule.NewDispatcher(p.run, p.fleet(1))
	p.decideUntilPublished()
	p.finishFirst()
	p.d.Decide(p.now)
	p.now = p.now.Add(time.Minute)
	if _, wake := p.d.Decide(p.now); !wake.IsZero() && !wake.After(p.now) {
		t.Errorf("to be woken at %s, which has passed", wake)
	}
}

// TestNobodyIsNoticedLate: a module becomes ready while nothing else is under
// way, on an existing lane without workers. It does not wait for ever.
func TestNobodyIsNoticedLate(t *testing.T) {
	p := newPlayer(t, `
name: p
modules:
  a: {command: ["true"], if: "false"}
  b: {command: ["true"], needs: [{module: a, optional: true}], requires: {os: windows}, queue-timeout: 10s}
`, ok)
	rep := p.play(1)
	if got := ended(rep)["b"]; !strings.Contains(got, "queue-timeout") {
		t.Errorf("b: %s", got)
	}
}

// TestWhatIsBeingClosedIsNotPublished: a worker that comes when the queue
// time-out has passed is too late, though the log does not say so yet: the job
// would start after its module had ended.
func TestWhatIsBeingClosedIsNotPublished(t *testing.T) {
	p := newPlayer(t, `
name: p
modules:
  a: {command: ["true"], requires: {os: windows}, queue-timeout: 10s}
`, ok)
	f := p.fleet(1)
	p.d = schedule.NewDispatcher(p.run, f)
	closing := false
	for range 100 {
		actions, wake := p.d.Decide(p.now)
		for _, a := range actions {
			switch a.(type) {
			case schedule.Close: // on its way
				closing = true
				f.Heartbeat(jobs.WorkerInfo{Name: "late", Incarnation: "late", Slots: 1, LanesSeen: 1 << 40, Capabilities: jobs.Capabilities{OS: "windows", Tools: map[string]string{"sh": ""}}}, p.now)
			case schedule.Publish:
				t.Fatal("published while it is being closed")
			default:
				p.perform(a)
			}
		}
		if len(actions) == 0 && wake.After(p.now) {
			p.now = wake
		}
	}
	if !closing {
		t.Fatal("it is not closed")
	}
}

// TestModuleWaitsForAMachineThatCanBegin: a worker whose machine cannot begin
// attempts is not capable; the module waits for its queue time-out, and its
// error names the worker and the reason. It runs when the worker recovers.
func TestModuleWaitsForAMachineThatCanBegin(t *testing.T) {
	for _, recovers := range []bool{false, true} {
		p := newPlayer(t, `
name: p
modules:
  a: {command: ["true"], queue-timeout: 10s}
`, ok)
		f := p.fleet(1)
		w := jobs.WorkerInfo{Name: "w", Incarnation: "w", Slots: 1, LanesSeen: 1 << 40, Unable: "no space left on device", Capabilities: jobs.Capabilities{
			OS: "linux", Tools: map[string]string{"sh": ""},
		}}
		f.Heartbeat(w, p.now)
		p.before = func(p *player, round int) {
			if round == 0 {
				p.d = schedule.NewDispatcher(p.run, f)
			}
			if w.Unable != "" && len(p.order) > 0 {
				t.Fatal("published for a worker that takes no attempts")
			}
			if recovers && p.now.After(epochStart.Add(5*time.Second)) {
				w.Unable = ""
				f.Heartbeat(w, p.now)
			}
		}
		got := ended(p.play(1))["a"]
		want := "failed (no capable worker within 10s (queue-timeout): missing a machine that can begin attempts (w: no space left on device))"
		if recovers {
			want = "succeeded"
		}
		if got != want {
			t.Errorf("a: %s, want %s", got, want)
		}
	}
}

// TestFailedWaitNamesWhatIsMissingAtItsEnd: a worker that joins during the wait, and
// cannot run the module, is named, although the wait began without one.
func TestFailedWaitNamesWhatIsMissingAtItsEnd(t *testing.T) {
	p := newPlayer(t, "name: p\nmodules:\n  a: {command: [\"true\"], requires: {os: windows}, queue-timeout: 10s}\n", ok)
	f := p.fleet(0)
	p.before = func(p *player, round int) {
		if round == 0 {
			p.d = schedule.NewDispatcher(p.run, f)
		}
		if p.now.After(epochStart.Add(5 * time.Second)) {
			f.Heartbeat(jobs.WorkerInfo{Name: "late", Incarnation: "late", Slots: 1, LanesSeen: 1 << 40, Capabilities: jobs.Capabilities{OS: "linux"}}, p.now)
		}
	}
	want := "failed (no capable worker within 10s (queue-timeout): missing os windows; late comes closest)"
	if got := ended(p.play(1))["a"]; got != want {
		t.Errorf("a: %s, want %s", got, want)
	}
}

// TestWaitThatCannotEndFailsAtOnce: where no other worker can join, a module
// whose requirements no worker meets fails without its queue time-out.
func TestWaitThatCannotEndFailsAtOnce(t *testing.T) {
	for _, row := range []struct {
		name   string
		closed bool
		want   string
		after  time.Duration
	}{
		{"closed", true, "failed (no worker can run it: missing os windows; w comes closest; no other worker can join this run: provide what is missing, or use --listen or --server)", 0},
		{"open", false, "failed (no capable worker within 10s (queue-timeout): missing os windows; w comes closest)", 10 * time.Second},
	} {
		p := newPlayer(t, "name: p\nmodules:\n  a: {command: [\"true\"], requires: {os: windows}, queue-timeout: 10s}\n", ok)
		f := p.fleet(1)
		if row.closed {
			f.Close()
		}
		p.before = func(p *player, round int) {
			if round == 0 {
				p.d = schedule.NewDispatcher(p.run, f)
			}
		}
		rep := p.play(1)
		if got := ended(rep)["a"]; got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
		if took := rep.Modules[0].Finished.Sub(epochStart); took < row.after || took > row.after+time.Second {
			t.Errorf("%s: it ended after %v, want %v", row.name, took, row.after)
		}
		until := ""
		for _, e := range p.events {
			if e.Event == report.EventWaiting && e.Until != nil {
				until = e.Until.Sub(epochStart).String()
			}
		}
		if (until != "") == row.closed {
			t.Errorf("%s: the waiting event says until %q", row.name, until)
		}
	}
}
