package schedule_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// cluster is the bucket of locks, as a world has it: what our attempts hold,
// and how many places of each lock other runs have.
type cluster struct {
	ours   map[string][]jobs.AttemptID
	others map[string]int
}

// lock takes all that an attempt asks for, or nothing.
func (c *cluster) lock(a schedule.Lock) bool {
	for _, l := range a.Locks {
		taken := c.others[l.Name]
		for _, h := range c.ours[l.Name] {
			if h.Module != a.ID.Module {
				taken++
			}
		}
		if taken >= l.Max {
			return false
		}
	}
	for _, l := range a.Locks {
		c.release(l.Name, a.ID)
		c.ours[l.Name] = append(c.ours[l.Name], a.ID)
	}
	return true
}

func (c *cluster) release(name string, id jobs.AttemptID) {
	c.ours[name] = slices.DeleteFunc(c.ours[name], func(h jobs.AttemptID) bool { return h.Module == id.Module && h.Attempt <= id.Attempt })
}

// interfere has another run take or leave a lock.
func (c *cluster) interfere(t *rapid.T, most int) {
	name := rapid.SampledFrom([]string{"a", "b", "l"}).Draw(t, "lock")
	if name != "l" {
		most = 1
	}
	switch {
	case c.others[name] > 0:
		c.others[name]--
	case len(c.ours[name]) < most:
		c.others[name]++
	}
}

// unlock gives back what a closed attempt has held.
func (w *world) unlock(a schedule.Unlock) {
	if !w.truth.Closed(a.ID) {
		w.t.Fatalf("%v gives back what it holds, and is open", a.ID)
	}
	for _, l := range a.Locks {
		w.cluster.release(l.Name, a.ID)
	}
}

// checkLocks checks that only holders of a lock of the cluster use it.
func (w *world) checkLocks(x *execution) {
	p := &w.pipe.Modules[x.node].Policy
	for _, name := range slices.Concat(p.ClusterKeys, slices.DeleteFunc(slices.Clone(p.Limits), func(l string) bool { return !slices.Contains(w.pipe.ClusterLimits, l) })) {
		if !slices.Contains(w.cluster.ours[name], x.id) {
			w.t.Fatalf("%v starts without %s of the cluster", x.id, name)
		}
	}
}

const alone = `
name: p
modules:
  a: {command: ["true"], not-in-parallel: {key: db, scope: cluster}}
`

const keyed = `
name: p
modules:
  a: {command: ["true"], not-in-parallel: {key: db, scope: cluster}, retry: {attempts: 2}}
  b: {command: ["true"], not-in-parallel: [other, {key: db, scope: cluster}]}
`

// locker plays the bucket of locks for a player: it notes what is asked and
// given back, and refuses as long as it is told to.
type locker struct {
	*player
	refuse  bool
	asked   []schedule.Lock
	unlocks []schedule.Unlock
	wake    time.Time
}

func newLocker(t *testing.T, src string) *locker {
	t.Helper()
	l := &locker{player: newPlayer(t, src, ok)}
	l.d = schedule.NewDispatcher(l.run, l.fleet(4))
	return l
}

// decide decides until nothing more follows.
func (l *locker) decide() {
	for {
		actions, wake := l.d.Decide(l.now)
		l.wake = wake
		if len(actions) == 0 {
			return
		}
		for _, a := range actions {
			switch a := a.(type) {
			case schedule.Lock:
				l.asked = append(l.asked, a)
				l.d.Locked(a.Node, a.ID, !l.refuse)
			case schedule.Unlock:
				l.unlocks = append(l.unlocks, a)
			default:
				l.perform(a)
			}
		}
	}
}

// decideUntilAsked decides until something is asked for, and leaves that open.
func (l *locker) decideUntilAsked() schedule.Lock {
	l.t.Helper()
	for range 10 {
		actions, _ := l.d.Decide(l.now)
		for _, a := range actions {
			if a, ok := a.(schedule.Lock); ok {
				return a
			}
			l.perform(a)
		}
	}
	l.t.Fatal("nothing is asked for")
	return schedule.Lock{}
}

func (l *locker) want(what string, got, want int) {
	l.t.Helper()
	if got != want {
		l.t.Errorf("%d %s, want %d", got, what, want)
	}
}

// TestLocksComeBeforeTheGrant: what a module needs of the cluster is asked for
// once it is free in the run, and given back when the attempt is closed.
func TestLocksComeBeforeTheGrant(t *testing.T) {
	l := newLocker(t, keyed)
	l.decide()
	l.want("asked", len(l.asked), 1) // b waits for a in the run
	l.want("published", len(l.queue), 1)
	if got := l.asked[0].Locks; !slices.Equal(got, []jobs.Lock{{Name: "db", Max: 1}}) {
		t.Errorf("asked for %v", got)
	}
	l.finishFirst()
	l.decide()
	l.want("given back", len(l.unlocks), 1)
	l.want("asked", len(l.asked), 2)
	l.finishFirst()
	l.decide()
	l.want("given back", len(l.unlocks), 2)
	if l.run.Ended() == nil {
		t.Error("the run has not ended")
	}
}

// TestRefusedLocksAreTriedAgain: immediately after a bell, otherwise after a
// second.
func TestRefusedLocksAreTriedAgain(t *testing.T) {
	l := newLocker(t, keyed)
	l.refuse = true
	l.decide()
	l.want("asked", len(l.asked), 2) // neither holds what the other needs
	l.want("published", len(l.queue), 0)
	if d := l.wake.Sub(l.now); d <= 0 || d > time.Second {
		t.Errorf("is tried again in %v", d)
	}
	l.d.LocksChanged()
	l.decide()
	l.want("asked", len(l.asked), 4)
	l.now = l.wake
	l.refuse = false
	l.decide()
	l.want("asked", len(l.asked), 5)
	l.want("published", len(l.queue), 1)
}

// TestABellWhileAskingIsNotLost: a lock that was given back after it had been
// read is read again immediately.
func TestABellWhileAskingIsNotLost(t *testing.T) {
	l := newLocker(t, alone)
	lock := l.decideUntilAsked()
	l.d.LocksChanged()
	l.d.Locked(lock.Node, lock.ID, false)
	l.decide()
	l.want("published", len(l.queue), 1)
}

// TestClosedWhileAsking: locks that arrive for an attempt that was closed since
// are given back, and the run does not end before they have arrived.
func TestClosedWhileAsking(t *testing.T) {
	l := newLocker(t, alone)
	lock := l.decideUntilAsked()
	l.cancel("c")
	l.decide()
	if l.run.Live() != 0 || l.run.Ended() != nil {
		t.Fatalf("%d live, ended %v", l.run.Live(), l.run.Ended())
	}
	l.d.Locked(lock.Node, lock.ID, true)
	l.decide()
	l.want("given back", len(l.unlocks), 1)
	if l.run.Ended() == nil {
		t.Error("the run has not ended")
	}
}

// TestTakeoverGivesBack: an orchestrator gives back what attempts have held
// that were closed before it came, and asks again for those that are open.
func TestTakeoverGivesBack(t *testing.T) {
	l := newLocker(t, keyed)
	l.decide()
	l.ends = failing("a")
	l.finishFirst()
	l.write("ctl", "", jobs.Record{Takeover: &jobs.Takeover{Epoch: 2}})
	l.d, l.asked = schedule.NewDispatcher(l.run, l.fleet(4)), nil
	l.now = l.now.Add(time.Minute)
	l.decide()
	l.want("given back", len(l.unlocks), 1)
	if id := l.unlocks[0].ID; id != (jobs.AttemptID{Module: "a", Attempt: 1}) {
		t.Errorf("gives back what %v has held", id)
	}
	l.want("asked", len(l.asked), 1)
}

// TestNothingOvertakesWhatHasToBeAlone, also while it waits for the cluster.
func TestNothingOvertakesWhatHasToBeAlone(t *testing.T) {
	l := newLocker(t, `
name: p
limits: {l: {max: 1, scope: cluster}}
modules:
  alone: {command: [x], not-in-parallel: true, limit: l, priority: high}
  b: {command: [x]}
`)
	l.refuse = true
	l.decide()
	l.want("published", len(l.queue), 0)
	l.refuse = false
	l.d.LocksChanged()
	l.decide()
	if got := l.order; !slices.Equal(got, []string{"alone"}) {
		t.Errorf("published %v", got)
	}
}

// TestReclaimAtFirstSight: the log may tell of a claim before the registry
// tells of its worker, which is no lost one then.
func TestReclaimAtFirstSight(t *testing.T) {
	l := newLocker(t, keyed)
	l.decide()
	id := l.queue[0].ID()
	f := schedule.NewFleet(testTTL)
	f.WatchSynced(l.now)
	f.Heartbeat(jobs.WorkerInfo{Name: "w", Incarnation: "before"}, l.now)
	f.Removed("w", false)
	l.now = l.now.Add(10 * testTTL)
	l.write("a", "a", jobs.Record{Claim: &jobs.Claim{Attempt: 1, Worker: "w", Incarnation: "new", Started: l.now}})
	for _, after := range []time.Duration{0, testTTL / 2} {
		if _, may := l.run.Reclaim(id, f, l.now.Add(after)); may {
			t.Errorf("it is taken from a worker that was not heard of yet, after %s", after)
		}
	}
	if _, may := l.run.Reclaim(id, f, l.now.Add(testTTL)); !may {
		t.Error("it is never taken")
	}
}

// TestReclaim: an attempt of a run without an orchestrator is closed as handed
// back when it has no claim, as lost when its worker is lost, and otherwise left.
func TestReclaim(t *testing.T) {
	l := newLocker(t, keyed)
	l.decide()
	id := l.queue[0].ID()
	f := schedule.NewFleet(testTTL)
	f.WatchSynced(l.now)
	c, may := l.run.Reclaim(id, f, l.now)
	if !may || c.Outcome.Status != report.AttemptHandedBack || c.Purge == nil || *c.Purge != id || c.Expect != 0 {
		t.Errorf("unclaimed: %v, %+v", may, c)
	}
	l.write("a", "a", jobs.Record{Claim: &jobs.Claim{Attempt: 1, Worker: "w", Incarnation: "w", Started: l.now}})
	f.Heartbeat(jobs.WorkerInfo{Name: "w", Incarnation: "w"}, l.now)
	if _, may := l.run.Reclaim(id, f, l.now); may {
		t.Error("it is taken from a live worker")
	}
	f.Removed("w", false)
	if _, may := l.run.Reclaim(id, f, l.now.Add(testTTL/2)); may {
		t.Error("it is taken before the worker's lease has surely ended")
	}
	c, may = l.run.Reclaim(id, f, l.now.Add(testTTL))
	if !may || c.Outcome.Status != report.AttemptLost || c.Purge != nil || c.Expect != l.last["a"] {
		t.Errorf("of a lost worker: %v, %+v", may, c)
	}
	l.write("a", "a", jobs.Record{Outcome: &c.Outcome})
	if _, may := l.run.Reclaim(id, f, l.now.Add(testTTL)); may || !l.run.Closed(id) {
		t.Error("it is closed twice")
	}
}

// TestReclaimWhatTheLogHasLost: a lock was entered for an attempt, and the server
// has lost the records that led to it. There is nothing to close.
func TestReclaimWhatTheLogHasLost(t *testing.T) {
	l := newLocker(t, keyed)
	l.decide()
	id := l.queue[0].ID()
	f := schedule.NewFleet(testTTL)
	f.WatchSynced(l.now)
	id.Attempt = 2
	if c, may := l.run.Reclaim(id, f, l.now); !may || c.Cell != "" {
		t.Errorf("%v, %+v", may, c)
	}
}
