package schedule

import (
	"slices"
	"time"
)

// A server that was restarted may have lost the last part of a run's log: the
// claim of a worker that still runs what it has claimed, with a key. Until the
// time to live of a worker's lease has passed, such a worker has read its cell,
// or has ended what it runs. Until then a dispatcher leaves all alone that has
// a key or a limit.

// QuietUntil is how long to leave alone what has a key, by the clock of the
// log: for the time to live of a worker after the registry was made, which is
// in memory, so that a restart of the server makes it anew. A run that was
// submitted after that has lost nothing, unless it shares keys or limits with
// others.
func QuietUntil(r *Run, registry time.Time, ttl time.Duration) time.Time {
	if !r.hasKeys() || r.started.After(registry) && len(r.Locks()) == 0 {
		return time.Time{}
	}
	return registry.Add(ttl)
}

// NextEpoch is the epoch of a takeover: one more than any that is known, from
// the log or from elsewhere. When the server was restarted since the run was
// submitted, newer ones may be lost; then it is at least the time in
// milliseconds, by the clock of the log.
func NextEpoch(r *Run, known uint64, registry, now time.Time) uint64 {
	next := max(r.epoch, known) + 1
	if r.started.After(registry) {
		return next
	}
	return max(next, uint64(max(0, now.UnixMilli()))) //nolint:gosec // not negative
}

// Quiet has the dispatcher neither grant, publish nor close anything with a
// key, nor end a run that has some, before a time by the clock of the log.
func (d *Dispatcher) Quiet(until time.Time) { d.quiet = until }

// Fence has what is published and answered carry an epoch for fencing tokens:
// one number for all runs of a NATS, which grows whenever the server may have
// lost the last part of its streams. Without it the epoch of the takeover is
// carried.
func (d *Dispatcher) Fence(epoch uint64) { d.fencing = epoch }

// Calm reports whether nothing has to be left alone any more.
func (d *Dispatcher) Calm(now time.Time) bool { return !now.Before(d.quiet) }

// untouchable reports whether n is to be left alone for now.
func (d *Dispatcher) untouchable(n *node, now time.Time) bool {
	return now.Before(d.quiet) && d.run.needsGrant(n)
}

// endQuiet has everything looked at that was left alone, when it is time.
func (d *Dispatcher) endQuiet(now time.Time) {
	if d.quiet.IsZero() || now.Before(d.quiet) {
		return
	}
	d.quiet, d.tickAt = time.Time{}, atOnce
	d.run.changed = append(d.run.changed, d.deferred...)
	d.deferred = nil
}

// hasKeys reports whether some module of the run has a key or a limit.
func (r *Run) hasKeys() bool {
	return slices.ContainsFunc(r.nodes, r.needsGrant)
}
