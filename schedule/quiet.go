package schedule

import (
	"slices"
	"time"
)

// A server that was restarted may have lost the last part of a run's log: the
// claim of a worker that still runs what it has claimed, with a key. Until the
// time to live of a worker's lease has passed since the restart, such a worker
// has read its cell, or has ended what it runs. Until then a dispatcher leaves
// everything alone that has a key or a limit.
//
// The time of the restart is not known. It was before the observer made its
// connection, and before any worker made its own. So the observer waits for the
// time to live since its own connection, by its own clock, or until it hears
// from a worker whose connection has stood for that long. The server's clock
// does not decide: it may jump.

// Quiet says until when, by the clock of the log, a worker may hold a key that
// the log has lost: a time to live after the observer made its connection. A
// worker whose connection has stood for that long ends it earlier.
func (f *Fleet) Quiet(until time.Time) { f.quiet = until }

// Calm reports whether no worker holds a key that the log has lost.
func (f *Fleet) Calm(now time.Time) bool { return f.settled || !now.Before(f.quiet) }

// MayHaveLost reports whether the log may have lost the holder of a key or a
// limit that the run uses. safe reports that the server was not restarted since the run
// was submitted: then it has lost nothing of the run, but perhaps of others,
// which share keys and limits of the cluster.
func (r *Run) MayHaveLost(safe bool) bool {
	if safe {
		return len(r.Locks()) > 0
	}
	return slices.ContainsFunc(r.nodes, r.needsGrant)
}

// NextEpoch is the epoch of a takeover: one more than any that is known, from
// the log or from elsewhere. Unless it is safe to say that the server was not
// restarted since the run was submitted, newer epochs may be lost; then it is
// larger than any that was taken before the last restart: fencing is the epoch of
// fencing tokens, which grows with every restart.
func NextEpoch(r *Run, known uint64, safe bool, fencing uint64) uint64 {
	next := max(r.epoch, known) + 1
	if safe {
		return next
	}
	return max(next, fencing<<takeovers+1)
}

// takeovers is how many bits count the takeovers between two restarts.
const takeovers = 24

// AwaitCalm has the dispatcher neither grant, publish nor close anything that
// has a key, nor end the run, before the fleet is calm.
func (d *Dispatcher) AwaitCalm() { d.awaitsCalm = true }

// Fence has what is published and answered carry an epoch for fencing tokens:
// one number for all runs of a NATS, which grows whenever the server may have
// lost the last part of its streams. Without it the epoch of the takeover is
// carried.
func (d *Dispatcher) Fence(epoch uint64) { d.fencing = epoch }

// untouchable reports whether n is to be left alone for now.
func (d *Dispatcher) untouchable(n *node, now time.Time) bool {
	return d.awaitsCalm && d.run.needsGrant(n) && !d.fleet.Calm(now)
}

// mayClose reports whether an attempt of n may be closed, and for nil, whether
// the run may end.
func (d *Dispatcher) mayClose(n *node, now time.Time) bool {
	return n == nil && !d.awaitsCalm || n != nil && !d.untouchable(n, now)
}

// endQuiet has everything looked at that was left alone, when it is time.
func (d *Dispatcher) endQuiet(now time.Time) {
	if !d.awaitsCalm || !d.fleet.Calm(now) {
		return
	}
	d.awaitsCalm, d.tickAt = false, atOnce
	d.run.changed = append(d.run.changed, d.deferred...)
	d.deferred = nil
}
