package schedule_test

import (
	"testing"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/schedule"
)

const withKey = "name: p\nmodules: {a: {command: [\"true\"], timeout: 0, not-in-parallel: [K]}}"

// awaitsCalm is a run with a key, whose orchestrator has just connected.
func awaitsCalm(t *testing.T) (*player, *schedule.Fleet) {
	t.Helper()
	p := newPlayer(t, withKey, ok)
	f := p.fleet(1)
	f.Quiet(p.now.Add(testTTL))
	p.d = schedule.NewDispatcher(p.run, f)
	p.d.AwaitCalm()
	return p, f
}

// grants reports whether the dispatcher grants something now.
func (p *player) grants() bool {
	for {
		actions, _ := p.d.Decide(p.now)
		again := false
		for _, a := range actions {
			if w, ok := a.(schedule.Write); ok && w.Record.Grant != nil {
				return true
			}
			p.perform(a)
			again = true
		}
		if !again {
			return false
		}
	}
}

func TestNoKeyIsGrantedBeforeTheFleetIsCalm(t *testing.T) {
	p, _ := awaitsCalm(t)
	if p.grants() {
		t.Fatal("granted at once")
	}
	if _, wake := p.d.Decide(p.now); wake.After(p.now.Add(testTTL)) {
		t.Errorf("it wants to be asked again %s later", wake.Sub(p.now))
	}
	p.now = p.now.Add(testTTL)
	if !p.grants() {
		t.Error("not granted after the time to live")
	}
}

func TestAJumpOfTheClockMakesNoFleetCalm(t *testing.T) {
	p, f := awaitsCalm(t)
	for _, by := range []time.Duration{time.Hour, -2 * time.Hour} {
		p.now = p.now.Add(by)
		f.AdjustClock(by)
		if p.grants() {
			t.Fatalf("granted after a jump of %s", by)
		}
	}
	p.now = p.now.Add(testTTL)
	if !p.grants() {
		t.Error("not granted after the time to live")
	}
}

func TestAWorkerWhoseConnectionHasStoodMakesTheFleetCalm(t *testing.T) {
	p, f := awaitsCalm(t)
	f.Heartbeat(jobs.WorkerInfo{Name: "other", Incarnation: "other", Slots: 1, Settled: true}, p.now)
	if !p.grants() {
		t.Error("not granted")
	}
}
