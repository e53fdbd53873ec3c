package schedule

import (
	"container/heap"
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// Dispatcher decides what is to be done for a run. It remembers what the log
// need not know; a new one, over a fold of the log, decides on.
type Dispatcher struct {
	run   *Run
	fleet *Fleet

	memos  []memo
	lanes  map[jobs.Lane]*lane
	sorted []*lane      // by name, so that equal states give equal actions
	timers timers       // retries that wait for their delay
	active map[int]bool // nodes that a tick looks at: published, claimed or to be closed

	assigned map[string]int // slots thought to be taken, by worker
	scarcest map[string]int // slots of the scarcest lane that a worker serves, by worker
	fleetAt  uint64         // fleet.version that the lanes were computed from
	tickAt   time.Time      // when active is looked at next

	control       []jobs.Record // to be written to the control subject, one at a time
	controlAt     uint64        // sequence that the write under way expects; valid while writing
	writing       bool
	nobodyWriting jobs.Lane    // whose clock the write under way is about
	granting      map[int]bool // nodes in the grant under way, or about to be
	shadow        holdings     // what it will hold
	locking       locking      // of the cluster's keys and limits
	cache         caching
	blocked       []int     // ready, but their keys are held
	released      int       // run.released when blocked was last looked at
	now           time.Time // of the Decide that is under way, or of the last one
	heldUntil     time.Time // when dispatch stops waiting for a lane that is not settled; zero = it does not wait

	fencing    uint64 // epoch of fencing tokens
	awaitsCalm bool   // what has a key is left alone until the fleet is calm
	deferred   []int  // nodes that are looked at again then

	refusal    string // why the run is not to begin
	cancelling bool
	finishing  bool
	actions    []Action // decided since the last Decide returned
}

// memo is what the dispatcher remembers of a node.
type memo struct {
	condition conditionState
	attempt   jobs.Attempt // that the rest is about
	published bool         // its job was put on the lane by this dispatcher, or is
	fetching  bool         // about to be, once the values have been fetched that its texts read
	uncertain time.Time    // the publication was not answered: nothing is done before
	republish bool         // its job may have been published before
	claimed   bool         // its claim was heard of
	worker    string       // that is thought to run it, or will
	slots     int          // that it takes there
	queued    bool         // in its lane's heap, in timers or in blocked
	sent      time.Time    // when the job was published
	passedBy  int          // node whose more urgent job was published for the slot that it waits for, plus 1; 0 = none
	audited   time.Time
	asked     time.Time // for the first time, to end
	askedLast time.Time
	asksKill  bool
	unlisted  int       // heartbeats of its worker in a row that do not name it
	listedAt  time.Time // of the last heartbeat that was looked at for that
	probed    time.Time
	closing   bool // an outcome that expects closingAt is being written
	closingAt uint64
	expanding bool
	locks     lockState  // of the attempt
	reserved  bool       // its keys and limits are in locking.held
	rung      uint64     // locking.rung when it asked
	cache     cacheState // of the attempt
	print     string     // its fingerprint; valid when cache is cacheDone, "" = none
	hit       bool       // it is being closed with a cached result
	secrets   delivery   // of the attempt
}

type conditionState uint8

const (
	conditionUnknown conditionState = iota
	conditionAsked
	conditionTrue
	conditionFalse // or wrong: the module is being closed
)

// NewDispatcher decides for a run with the workers of a fleet.
func NewDispatcher(r *Run, f *Fleet) *Dispatcher {
	d := &Dispatcher{
		run: r, fleet: f, fencing: r.epoch,
		lanes: map[jobs.Lane]*lane{}, active: map[int]bool{}, assigned: map[string]int{}, scarcest: map[string]int{},
		granting: map[int]bool{},
	}
	r.changed = r.changed[:0]
	for i := range r.nodes {
		r.changed = append(r.changed, i)
	}
	return d
}

// Decide says what is to be done now, and when it wants to be asked again at
// the latest (zero: when something happens). now is by the clock of the log.
func (d *Dispatcher) Decide(now time.Time) ([]Action, time.Time) {
	if d.run.end != nil || d.run.provisional {
		return nil, time.Time{}
	}
	if d.refusal != "" {
		return d.refuse(), time.Time{}
	}
	d.now, d.heldUntil = now, time.Time{}
	d.heardControl()
	d.endQuiet(now)
	d.absorb(now)
	d.refreshLanes()
	d.timers.due(now, d.due)
	d.retryLocks(now)
	d.retryFlights(now)
	d.absorb(now)
	d.checkDeadline(now)
	if !d.cancelling || d.run.cancel != nil {
		d.grantLocked()
		d.dispatch(now)
	}
	d.writeControl()
	d.tick(now)
	d.checkEnd(now)
	actions := d.actions
	d.actions = nil
	return actions, d.wake()
}

func (d *Dispatcher) do(a Action) { d.actions = append(d.actions, a) }

func (d *Dispatcher) memo(i int) *memo {
	if more := len(d.run.nodes) - len(d.memos); more > 0 {
		d.memos = append(d.memos, make([]memo, more)...)
	}
	return &d.memos[i]
}

// absorb looks at the nodes that have changed since the last Decide.
func (d *Dispatcher) absorb(now time.Time) {
	for len(d.run.changed) > 0 {
		batch := d.run.changed
		d.run.changed = nil
		for _, i := range batch {
			d.look(i, now)
		}
	}
	if d.run.released != d.released {
		d.released = d.run.released
		d.unblock()
	}
}

// look brings a node's memo up to its state.
func (d *Dispatcher) look(i int, now time.Time) {
	n, m := d.run.nodes[i], d.memo(i)
	if m.closing && n.cell > m.closingAt {
		m.refusedClose()
	}
	if n.status.Terminal() || n.attempt != m.attempt {
		d.attemptEnded(n, m)
	}
	switch {
	case n.status.Terminal() || n.expanded:
		if !n.granted {
			delete(d.granting, i)
		}
		delete(d.active, i)
	case n.module.Dynamic != nil:
		if !n.since.IsZero() && !m.expanding && !m.closing && d.run.stopped(n) == "" {
			m.expanding = true
			d.evaluate(n, forExpansion)
		}
	default:
		if l := d.lane(n); n.status != report.Waiting {
			d.lookReady(l, n, m, now)
		}
	}
}

// lookReady is look for a module whose needs have ended.
func (d *Dispatcher) lookReady(l *lane, n *node, m *memo, now time.Time) {
	i := n.index
	if !l.wanted && !d.unlooked(n, m) {
		l.wanted, d.tickAt = true, atOnce // it may be that no worker serves it
	}
	switch {
	case n.claim != nil:
		d.runs(n, m, now)
		return
	case d.run.stopped(n) != "":
		d.activate(i, now)
		return
	}
	if d.untouchable(n, now) {
		if n.granted {
			d.relock(n, m)
		}
		d.deferred = append(d.deferred, i)
		return
	}
	if !m.published && !m.queued && !m.closing && (n.granted || !d.granting[i] && !m.reserved) {
		d.want(i, now)
	}
}

// refusedClose notes that another record was first in the cell when an outcome
// was to close the attempt, or that this outcome arrived. The reason for closing
// is checked again.
func (m *memo) refusedClose() {
	m.closing, m.expanding = false, false
	if m.hit {
		m.hit, m.cache = false, cacheUnknown
	}
	if m.condition == conditionFalse {
		m.condition = conditionUnknown
	}
}

// runs notes that a worker has claimed an attempt.
func (d *Dispatcher) runs(n *node, m *memo, now time.Time) {
	d.assign(m, n.claim.Worker, n.module.Slots)
	d.activate(n.index, now)
	if !m.claimed {
		m.claimed = true
		d.lookUp(n, m)
		d.fleet.claimed(n.claim, now)
		d.relock(n, m)
	}
}

// want sees to it that a node which has become ready is dispatched in time.
func (d *Dispatcher) want(i int, now time.Time) {
	n, m := d.run.nodes[i], d.memo(i)
	if m.condition == conditionUnknown && (n.module.If == "" || n.attempt > 1 || n.granted) {
		m.condition = conditionTrue
	}
	if n.granted {
		d.lookUp(n, m)
	}
	switch {
	case m.condition == conditionUnknown:
		m.condition = conditionAsked
		d.evaluate(n, forCondition)
	case m.condition != conditionTrue:
	case n.granted && d.relock(n, m):
	case n.granted:
		d.publish(n, m, now)
	case n.retryAt.After(now):
		m.queued = true
		d.timers.add(n.retryAt, i)
	case d.unlooked(n, m):
		d.lookUp(n, m)
	default:
		d.enqueue(i)
	}
}

// due brings a module back whose delay is over.
func (d *Dispatcher) due(i int) {
	n, m := d.run.nodes[i], d.memo(i)
	m.queued = false
	if d.waits(n, m) {
		d.want(i, d.now)
	}
}

func (d *Dispatcher) activate(i int, now time.Time) {
	d.active[i] = true
	if d.tickAt.IsZero() || d.tickAt.After(now) {
		d.tickAt = now
	}
}

// attemptEnded forgets the attempt that this dispatcher had published.
func (d *Dispatcher) attemptEnded(n *node, m *memo) {
	d.unassign(m)
	d.unlock(n, m)
	d.leaveCache(n, m)
	d.keepDirs(n, m)
	if l := d.lanes[n.lane]; l != nil && m.attempt != 0 {
		if k := len(n.attempts); k > 0 && n.attempts[k-1].Started != nil && n.attempts[k-1].Finished != nil {
			l.observe(n.attempts[k-1].Finished.Sub(*n.attempts[k-1].Started))
		}
	}
	*m = memo{condition: m.condition, queued: m.queued, attempt: n.attempt}
	delete(d.active, n.index)
}

func (d *Dispatcher) lane(n *node) *lane {
	l, ok := d.lanes[n.lane]
	if !ok {
		l = &lane{name: n.lane, set: jobs.LaneSet{Requires: n.module.Requires, Slots: n.module.Slots}, born: d.now}
		l.ready.run = d.run
		d.lanes[n.lane] = l
		at, _ := slices.BinarySearchFunc(d.sorted, n.lane, func(l *lane, name jobs.Lane) int { return compare(l.name, name) })
		d.sorted = slices.Insert(d.sorted, at, l)
		d.do(Prepare{Lane: l.name, Set: l.set})
	}
	return l
}

func compare(a, b jobs.Lane) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// waits reports whether n still is to be published. What is being closed is
// not, though the log does not say so yet: its job would outlive it. Should the
// closing be refused, n is looked at again.
func (d *Dispatcher) waits(n *node, m *memo) bool {
	return !n.status.Terminal() && n.claim == nil && !m.published && !m.closing && d.run.stopped(n) == ""
}

func (d *Dispatcher) enqueue(i int) {
	n, m := d.run.nodes[i], d.memo(i)
	m.queued = false
	if !d.waits(n, m) {
		return
	}
	m.queued = true
	heap.Push(&d.lane(n).ready, i)
}

// unblock has modules whose keys were held tried again.
func (d *Dispatcher) unblock() {
	blocked := d.blocked
	d.blocked = nil
	for _, i := range blocked {
		d.enqueue(i)
	}
}

// dispatch releases what is ready, best first, while there is room for it.
func (d *Dispatcher) dispatch(now time.Time) {
	for _, l := range d.sorted {
		l.full = false
	}
	for l := d.best(); l != nil; l = d.best() {
		n := d.run.nodes[l.ready.items[0]]
		m := d.memo(n.index)
		switch {
		case !d.waits(n, m):
			d.pop(l)
		case n.retryAt.After(now): // it had an attempt while it waited here, as by an earlier orchestrator
			d.later(l, n, m)
		default:
			if !d.release(l, n, m, now) {
				return
			}
		}
	}
}

// release gives n, the first module of lane l, a slot, or puts it aside. It
// reports whether other modules may go now.
func (d *Dispatcher) release(l *lane, n *node, m *memo, now time.Time) bool {
	worker, slots := d.room(l, n)
	if worker == "" {
		var until time.Time
		if worker, slots, until = d.roomBefore(l, n, now); !until.IsZero() {
			d.heldUntil = earlierSet(d.heldUntil, until)
		}
	}
	if worker == "" {
		l.full = true
		return true
	}
	if until := d.waitsFor(n); now.Before(until) {
		d.heldUntil = earlierSet(d.heldUntil, until)
		return false
	}
	if n.granted && d.relock(n, m) {
		d.pop(l)
		return true
	}
	keyed := d.run.needsGrant(n) && !n.granted
	if keyed && !d.free(n) {
		if n.module.Policy.Exclusive {
			return false // nothing overtakes what has to be alone
		}
		d.block(l, n, m)
		return true
	}
	d.pop(l)
	d.take(m, worker, slots)
	switch {
	case !keyed:
		d.publish(n, m, now)
	case !d.ask(n, m):
		d.grant(n)
	}
	return true
}

// later puts a module aside until the delay of its retry is over.
func (d *Dispatcher) later(l *lane, n *node, m *memo) {
	d.pop(l)
	m.queued = true
	d.timers.add(n.retryAt, n.index)
}

// block puts a module aside until a key or a limit is given back.
func (d *Dispatcher) block(l *lane, n *node, m *memo) {
	d.pop(l)
	m.queued = true
	d.blocked = append(d.blocked, n.index)
}

func (d *Dispatcher) pop(l *lane) {
	i := heap.Pop(&l.ready).(int)
	d.memo(i).queued = false
}

// best is the lane that goes first: that of the highest priority, then the one
// that the fewest slots can serve, then by its first module.
func (d *Dispatcher) best() *lane {
	var best *lane
	for _, l := range d.sorted {
		if len(l.ready.items) == 0 || l.full || !l.prepared {
			continue
		}
		if best == nil || d.goesBefore(l, best) {
			best = l
		}
	}
	return best
}

func (d *Dispatcher) goesBefore(a, b *lane) bool {
	x, y := d.run.nodes[a.ready.items[0]], d.run.nodes[b.ready.items[0]]
	if order := a.rank(x).Compare(b.rank(y)); order != 0 {
		return order < 0
	}
	return before(x, y)
}

// rank orders a job of n among the jobs that one slot may take.
func (l *lane) rank(n *node) jobs.Rank {
	return jobs.Rank{Priority: n.module.Policy.Priority, Slots: l.slots}
}

// waitsFor is until when n waits for a lane that has a module at least as
// urgent and is not settled: the lane is still being created, or the workers
// have not said whether they serve it. Without the wait, the lane that
// happens to be settled first goes first.
func (d *Dispatcher) waitsFor(n *node) time.Time {
	var until time.Time
	for _, l := range d.sorted {
		if len(l.ready.items) == 0 || l.settled() {
			continue
		}
		first := d.run.nodes[l.ready.items[0]]
		patience := settleEqual
		if first.module.Policy.Priority > n.module.Policy.Priority {
			patience = settleUrgent
		}
		if first.module.Policy.Priority >= n.module.Policy.Priority {
			until = latest(until, l.born.Add(patience))
		}
	}
	return until
}

func (d *Dispatcher) publish(n *node, m *memo, now time.Time) {
	m.published, m.passedBy, m.sent, m.audited = true, 0, now, now
	d.active[n.index] = true
	if d.tickAt.IsZero() {
		d.tickAt = now.Add(time.Second)
	}
	d.evaluate(n, forJob)
}
