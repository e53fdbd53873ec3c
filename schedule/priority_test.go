package schedule_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

const twoLanes = `
name: p
modules:
  urgent: {command: ["true"], priority: critical}
  equal: {command: ["true"], priority: critical, requires: {os: linux}}
  low: {command: ["true"], priority: low, requires: {os: linux}}
`

// lanesOf returns the lanes that the first decision asks for, by name of module.
func lanesOf(actions []schedule.Action) map[jobs.Lane]bool {
	lanes := map[jobs.Lane]bool{}
	for _, a := range actions {
		if prepare, ok := a.(schedule.Prepare); ok {
			lanes[prepare.Lane] = true
		}
	}
	return lanes
}

func (p *player) published(actions []schedule.Action) (names []string) {
	for _, a := range actions {
		if publish, ok := a.(schedule.Publish); ok {
			names = append(names, p.run.Module(publish.Node).Name)
		}
	}
	return names
}

func TestALessUrgentModuleWaitsWhileTheLaneOfAMoreUrgentOneIsCreated(t *testing.T) {
	p := newPlayer(t, twoLanes, ok)
	p.d = schedule.NewDispatcher(p.run, p.fleet(1))
	actions, _ := p.d.Decide(p.now)
	if want := map[jobs.Lane]bool{"any": true, "os_linux": true}; !cmp.Equal(lanesOf(actions), want) {
		t.Fatalf("the lanes are %v, want %v", lanesOf(actions), want)
	}
	p.d.Prepared("os_linux", 1)
	actions, wake := p.d.Decide(p.now)
	if names := p.published(actions); len(names) > 0 {
		t.Errorf("%v are published while the lane of a module as urgent is being created", names)
	}
	if wake.IsZero() || wake.After(p.now.Add(2*time.Second)) {
		t.Errorf("the wait has no end within two seconds: it wakes at %v, now is %v", wake, p.now)
	}
	p.d.Prepared("any", 1)
	actions, _ = p.d.Decide(p.now)
	if diff := cmp.Diff([]string{"urgent"}, p.published(actions)); diff != "" {
		t.Error(diff)
	}
}

func TestAWaitForALaneEnds(t *testing.T) {
	p := newPlayer(t, twoLanes, ok)
	p.d = schedule.NewDispatcher(p.run, p.fleet(1))
	p.d.Decide(p.now)
	p.d.Prepared("os_linux", 1)
	_, wake := p.d.Decide(p.now)
	actions, _ := p.d.Decide(wake)
	if diff := cmp.Diff([]string{"equal"}, p.published(actions)); diff != "" {
		t.Error(diff)
	}
}

// TestNothingIsPublishedAheadOfAModuleThatIsMoreUrgent: after an attempt of a
// millisecond, fifty jobs of the lane may wait ahead of a free slot; but not
// while a more urgent module may still become ready.
func TestNothingIsPublishedAheadOfAModuleThatIsMoreUrgent(t *testing.T) {
	for urgency, want := range map[string]int{"normal": 9, "high": 1} {
		p := newPlayer(t, `
name: p
modules:
  first: {command: ["true"], priority: high}
  low: {command: ["true"], needs: first, matrix: {i: [1, 2, 3, 4, 5, 6, 7, 8, 9]}}
  last: {command: ["true"], needs: low, priority: `+urgency+`}
`, ok)
		p.d = schedule.NewDispatcher(p.run, p.fleet(1))
		first := p.decideUntilPublished()
		p.queue = nil
		p.now = p.now.Add(time.Millisecond)
		p.write(string(first.Module), first.Module, jobs.Record{Outcome: &jobs.Outcome{
			Attempt: 1, Status: report.AttemptSucceeded, Worker: "w", Started: p.now.Add(-time.Millisecond), Finished: p.now,
		}})
		actions, _ := p.d.Decide(p.now)
		if got := len(p.published(actions)); got != want {
			t.Errorf("with a module of priority %s to come, %d jobs are published, want %d", urgency, got, want)
		}
	}
}

func TestTheScarcerOfTwoEqualLanesGoesFirst(t *testing.T) {
	p := newPlayer(t, `
name: p
modules:
  any: {command: ["true"], matrix: {i: [1, 2]}}
  scarce: {command: ["true"], requires: {tags: [big]}}
`, ok)
	fleet := schedule.NewFleet(testTTL)
	for _, w := range []jobs.WorkerInfo{
		{Name: "big", Capabilities: jobs.Capabilities{Tags: []string{"big"}}}, {Name: "small"},
	} {
		w.Incarnation, w.Slots, w.LanesSeen = w.Name, 1, 1<<40
		fleet.Heartbeat(w, p.now)
	}
	fleet.WatchSynced(p.now)
	p.d = schedule.NewDispatcher(p.run, fleet)
	actions, _ := p.d.Decide(p.now)
	for _, a := range actions {
		p.perform(a)
	}
	actions, _ = p.d.Decide(p.now)
	if diff := cmp.Diff([]string{"scarce", "any (i=1)"}, p.published(actions)); diff != "" {
		t.Error(diff)
	}
}

// TestAWaitForALaneIsForgottenAtTheDeadline: while the cancellation is being
// written nothing is dispatched, and nothing is waited for.
func TestAWaitForALaneIsForgottenAtTheDeadline(t *testing.T) {
	p := newPlayer(t, "deadline: 50ms\n"+twoLanes[1:], ok)
	p.d = schedule.NewDispatcher(p.run, p.fleet(1))
	p.d.Decide(p.now)
	p.d.Prepared("os_linux", 1)
	_, wake := p.d.Decide(p.now)
	p.now = p.now.Add(50 * time.Millisecond)
	p.d.Decide(p.now)
	p.now = wake.Add(3 * time.Second)
	if _, next := p.d.Decide(p.now); !next.IsZero() && !next.After(p.now) {
		t.Errorf("it wants to be asked again at once, at %v", next)
	}
}

// TestWhatIsMoreUrgentGoesBeforeAJobThatNobodyHasTaken: a job was published for
// a slot that another job took, and waits in the queue. What is more urgent is
// published too, once, for the next free slot to take it first.
func TestWhatIsMoreUrgentGoesBeforeAJobThatNobodyHasTaken(t *testing.T) {
	p := newPlayer(t, `
name: p
modules:
  long: {command: ["true"], timeout: 0}
  quick: {command: ["true"]}
  low: {command: ["true"], priority: low, requires: {os: linux}}
  urgent: {command: ["true"], priority: high, needs: [quick], requires: {os: linux, tools: [sh]}}
  another: {command: ["true"], priority: high, needs: [quick], requires: {os: linux, tools: [sh]}}
`, ok)
	f := p.fleet(2)
	f.Heartbeat(jobs.WorkerInfo{Name: "mac", Incarnation: "mac", Slots: 1, LanesSeen: 1 << 40, Capabilities: jobs.Capabilities{OS: "darwin"}}, p.now)
	p.d = schedule.NewDispatcher(p.run, f)
	decide := func() (wake time.Time) {
		for range 3 {
			var actions []schedule.Action
			actions, wake = p.d.Decide(p.now)
			for _, a := range actions {
				p.perform(a)
			}
		}
		return wake
	}
	decide()
	if len(p.order) != 3 {
		t.Fatalf("%v are published, want what there are slots for", p.order)
	}
	for _, moduleID := range []jobs.ModuleID{"long", "quick"} { // both on w, where low was to go, too
		p.write(string(moduleID), moduleID, jobs.Record{Claim: &jobs.Claim{Attempt: 1, Worker: "w", Incarnation: "w", Nonce: string(moduleID)}})
	}
	p.write("quick", "quick", jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded, Worker: "w", Incarnation: "w", Nonce: "quick"}})
	p.order = nil
	wake := decide()
	if len(p.order) > 0 {
		t.Errorf("%v are published while a worker may be starting what was published a moment ago", p.order)
	}
	if p.now = p.now.Add(100 * time.Millisecond); wake.After(p.now) {
		t.Errorf("it looks again at %v, want after 100 ms", wake)
	}
	decide()
	if len(p.order) != 1 {
		t.Errorf("%v are published for one slot", p.order)
	}
}
