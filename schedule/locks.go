package schedule

import (
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// Keys and limits of the cluster. A module that has one is a holder in its
// run as any other is, and beside that asks for those of the cluster, all of
// them or none (Lock), before it is granted. What it is refused it waits for
// aside, holding nothing, until something was given back somewhere
// (LocksChanged) or lockRetry has passed: the end of a holder whose
// orchestrator is gone rings no bell. What an attempt was given it keeps until
// it is closed in the log (Unlock).

// lockRetry is how long a refused module waits at most before it is tried again.
const lockRetry = time.Second

// Lock asks for keys and limits of the cluster for an attempt, all of them or
// none, in their order. Answer with Dispatcher.Locked.
type Lock struct {
	Node  int
	ID    jobs.AttemptID
	Locks []jobs.Lock
}

// Unlock gives back what an attempt, and those of its module before it, may
// hold of the cluster: it was closed.
type Unlock struct {
	ID    jobs.AttemptID
	Locks []jobs.Lock
}

func (Lock) action()   {}
func (Unlock) action() {}

// locking is what a dispatcher remembers of the cluster's keys and limits.
type locking struct {
	held    holdings  // of attempts that have asked and are not granted yet
	asked   int       // answers to Lock that have not come
	got     []int     // have what they asked for, and go into the next grant
	waiting []int     // were refused
	retryAt time.Time // when they are tried again; valid while there are some
	rung    uint64    // how often something has changed
}

type lockState uint8

const (
	locksNone lockState = iota
	locksAsked
	locksHeld
)

// locksOf are the module's keys and limits of the cluster: keys first, by name.
func (r *Run) locksOf(n *node) []jobs.Lock {
	var locks []jobs.Lock
	for _, k := range n.module.Policy.ClusterKeys {
		locks = append(locks, jobs.Lock{Name: k, Max: 1})
	}
	for _, l := range n.module.Policy.Limits {
		if slices.Contains(r.pipeline.ClusterLimits, l) {
			locks = append(locks, jobs.Lock{Name: l, Limit: true, Max: r.pipeline.Limits[l]})
		}
	}
	return locks
}

// Locks are all keys and limits of the cluster that modules of the run use.
func (r *Run) Locks() []jobs.Lock {
	var all []jobs.Lock
	for _, n := range r.nodes {
		for _, l := range r.locksOf(n) {
			if !slices.Contains(all, l) {
				all = append(all, l)
			}
		}
	}
	return all
}

func (r *Run) key(n *node) jobs.AttemptID {
	return jobs.AttemptID{Module: jobs.ModuleID(n.module.Token), Attempt: n.attempt}
}

// ask asks for the keys and limits of the cluster that n needs and does not
// have. It reports false when n needs none.
func (d *Dispatcher) ask(n *node, m *memo) bool {
	if m.locks == locksHeld {
		return false
	}
	locks := d.run.locksOf(n)
	if len(locks) == 0 {
		return false
	}
	m.locks, m.reserved, m.rung = locksAsked, true, d.locking.rung
	d.locking.held.add(&n.module.Policy, 1)
	d.locking.asked++
	d.do(Lock{Node: n.index, ID: d.run.key(n), Locks: locks})
	return true
}

// relock asks again for what an attempt was granted by an earlier orchestrator:
// a server that lost the last part of its streams may have lost the entries. It
// reports whether the attempt has to wait for the answer.
func (d *Dispatcher) relock(n *node, m *memo) bool {
	if m.locks != locksNone || d.run.epoch <= 1 {
		return m.locks == locksAsked
	}
	locks := d.run.locksOf(n)
	if len(locks) == 0 {
		return false
	}
	m.attempt, m.locks, m.rung = n.attempt, locksAsked, d.locking.rung
	d.locking.asked++
	d.do(Lock{Node: n.index, ID: d.run.key(n), Locks: locks})
	return true
}

// locked reports whether a granted attempt holds the locks of the cluster that
// it needs, as far as this dispatcher knows.
func (d *Dispatcher) locked(n *node) bool {
	return d.run.epoch <= 1 || d.memo(n.index).locks == locksHeld || len(d.run.locksOf(n)) == 0
}

// Locked answers Lock: whether the attempt has all the locks that it asked for,
// or none.
func (d *Dispatcher) Locked(node int, id jobs.AttemptID, ok bool) {
	d.locking.asked--
	n, m := d.run.nodes[node], d.memo(node)
	switch {
	case n.status.Terminal() || n.attempt != id.Attempt || m.attempt != id.Attempt:
		if ok { // it was closed since
			d.do(Unlock{ID: id, Locks: d.run.locksOf(n)})
		}
	case ok && n.granted:
		m.locks = locksHeld
		d.run.changed = append(d.run.changed, node)
	case ok:
		m.locks = locksHeld
		d.locking.got = append(d.locking.got, node)
	default:
		d.refused(n, m)
	}
}

// refused has a module wait aside for what others hold of the cluster.
func (d *Dispatcher) refused(n *node, m *memo) {
	l := &d.locking
	m.locks, m.queued = locksNone, true
	d.unassign(m)
	switch {
	case m.rung != l.rung: // something was given back after it had been looked at
		l.retryAt = atOnce
	case len(l.waiting) == 0:
		l.retryAt = time.Time{}
	}
	l.waiting = append(l.waiting, n.index)
	if !n.module.Policy.Exclusive { // nothing overtakes what has to be alone
		d.unreserve(n, m)
	}
}

// LocksChanged says that something of the cluster may be free which was not.
func (d *Dispatcher) LocksChanged() {
	d.locking.rung++
	d.locking.retryAt = atOnce
}

// unreserve lets others of the run have what n has asked for.
func (d *Dispatcher) unreserve(n *node, m *memo) {
	if m.reserved {
		m.reserved = false
		d.locking.held.add(&n.module.Policy, -1)
		d.unblock()
	}
}

// grantLocked grants, in the run, those that have what they need of the cluster.
func (d *Dispatcher) grantLocked() {
	if d.writing {
		return
	}
	for _, i := range d.locking.got {
		n, m := d.run.nodes[i], d.memo(i)
		if !m.reserved || m.locks != locksHeld || d.run.stopped(n) != "" {
			continue // it was closed, or will be
		}
		d.grant(n)
		d.unreserve(n, m)
	}
	d.locking.got = nil
}

// retryLocks has those that were refused tried again when it is time.
func (d *Dispatcher) retryLocks(now time.Time) {
	l := &d.locking
	if len(l.waiting) == 0 {
		return
	}
	if l.retryAt.IsZero() {
		l.retryAt = now.Add(lockRetry)
	}
	if now.Before(l.retryAt) {
		return
	}
	waiting := l.waiting
	l.waiting, l.retryAt = nil, time.Time{}
	for _, i := range waiting {
		d.unreserve(d.run.nodes[i], d.memo(i))
		d.enqueue(i)
	}
}

// unlock gives back what the attempt that has ended may hold of the cluster.
// What an earlier orchestrator took is not known here.
func (d *Dispatcher) unlock(n *node, m *memo) {
	d.unreserve(n, m)
	id := jobs.AttemptID{Module: jobs.ModuleID(n.module.Token), Attempt: m.attempt}
	if m.attempt == 0 { // the first look at it
		id.Attempt = n.attempt
		if !n.status.Terminal() {
			id.Attempt--
		}
	}
	held := m.locks == locksHeld || d.run.epoch > 1
	if !held || m.locks == locksAsked || id.Attempt == 0 {
		return // what was asked for is given back when the answer comes
	}
	if locks := d.run.locksOf(n); len(locks) > 0 {
		d.do(Unlock{ID: id, Locks: locks})
	}
}

// Closed reports whether the attempt is closed, as this log says: what it held
// of the cluster is free.
func (r *Run) Closed(id jobs.AttemptID) bool {
	i, ok := r.byToken[id.Module]
	if !ok || r.end != nil {
		return true
	}
	n := r.nodes[i]
	return n.status.Terminal() || n.expanded || n.attempt > id.Attempt
}

// Open reports whether the attempt is the present one of its module, and
// neither closed nor waiting for what the module needs.
func (r *Run) Open(id jobs.AttemptID) bool {
	i, ok := r.byToken[id.Module]
	if !ok || r.end != nil {
		return false
	}
	n := r.nodes[i]
	return n.attempt == id.Attempt && n.status != report.Waiting && !n.status.Terminal() && !n.expanded
}

// Granted reports whether the attempt may start, or run, with its keys and
// limits. What the log does not grant when another orchestrator takes the run
// over, the one before cannot grant any more.
func (r *Run) Granted(id jobs.AttemptID) bool {
	i, ok := r.byToken[id.Module]
	return ok && r.nodes[i].granted && r.nodes[i].attempt == id.Attempt
}

// Reclaim returns the outcome by which another run's orchestrator, after a
// takeover of this run, closes an attempt whose locks the other run waits for. There is nothing to write
// (Close.Cell is empty) when the log does not have the attempt: the server has
// lost its last part, and no worker runs it once the fleet is calm. It reports
// false when it may not: a worker that may be alive has claimed it, or it is
// closed.
func (r *Run) Reclaim(id jobs.AttemptID, f *Fleet, now time.Time) (Close, bool) {
	if r.provisional || r.Closed(id) {
		return Close{}, false
	}
	if !r.Open(id) {
		return Close{}, true
	}
	n := r.nodes[r.byToken[id.Module]]
	c := Close{Cell: id.Module, Expect: n.cell, Lane: n.lane}
	if n.claim == nil { // nothing was lost, so nothing counts as a loss
		c.Purge = &id
		c.Outcome = jobs.Outcome{Attempt: id.Attempt, Status: report.AttemptHandedBack, By: "orchestrator", Error: "another run needed what it held, and nobody decided for this one"}
		return c, true
	}
	if _, heard := f.heard[n.claim.Incarnation]; !heard { // the log may tell of it before the registry does
		f.claimed(n.claim, now)
	}
	lost, _ := f.lost(n.claim, now)
	c.Outcome = inPlaceOf(n, report.AttemptLost, "worker "+n.claim.Worker+" fell silent", now)
	return c, lost
}
