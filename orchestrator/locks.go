package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/schedule"
)

// locks is a run's part in the keys and limits that all runs share: it takes
// them for the run's attempts, gives them back, and looks whether others who
// hold them still may. Nothing is opened before the run asks for the first.
//
// A holder counts until its attempt is closed in the log of its run. As long
// as somebody decides for that run, its own orchestrator closes and gives
// back. Of a run that nobody decides for, the attempt may have been closed
// since, or is closed here by the rules that every orchestrator keeps: in the
// log, after a takeover, and in a worker's place only when the worker is lost.
type locks struct {
	conn  *broker.Conn
	log   *slog.Logger
	name  string // of this orchestrator
	run   jobs.RunID
	epoch uint64

	opened chan struct{} // closed when the buckets, below, are there
	bucket *kv.Locks
	leases *kv.Leases

	wanted chan struct{} // closed when the first lock is asked for

	mu     sync.Mutex
	known  []jobs.Lock              // asked for, or given back
	absent map[jobs.RunID]time.Time // since when nobody has been seen to decide for a run
}

func newLocks(c *broker.Conn, cfg Config, run jobs.RunID, epoch uint64) *locks {
	return &locks{
		conn: c, log: cfg.Logger, name: cfg.Name, run: run, epoch: epoch,
		opened: make(chan struct{}), wanted: make(chan struct{}), absent: map[jobs.RunID]time.Time{},
	}
}

// watch opens the buckets when they are wanted, and calls changed whenever
// something that the run has asked for may have become free, until ctx ends.
func (k *locks) watch(ctx context.Context, changed func()) error {
	select {
	case <-k.wanted:
	case <-ctx.Done():
		return nil
	}
	var err error
	if k.bucket, err = kv.OpenLocks(ctx, k.conn); err != nil {
		return fmt.Errorf("open the bucket of locks: %w", err)
	}
	if k.leases, err = kv.OpenLeases(ctx, k.conn); err != nil {
		return fmt.Errorf("open the bucket of leases: %w", err)
	}
	close(k.opened)
	return k.bucket.Watch(ctx, k.all, changed)
}

// all are the locks that the run has had to do with.
func (k *locks) all() []jobs.Lock {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.known)
}

// want remembers locks. The loop calls it.
func (k *locks) want(more []jobs.Lock) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.known) == 0 && len(more) > 0 {
		close(k.wanted)
	}
	for _, l := range more {
		if !slices.Contains(k.known, l) {
			k.known = append(k.known, l)
		}
	}
}

// await returns when the buckets are open, false when ctx has ended.
func (k *locks) await(ctx context.Context) bool {
	select {
	case <-k.opened:
		return true
	case <-ctx.Done():
		return false
	}
}

// refusal is a lock that was not to be had, and who has it.
type refusal struct {
	lock jobs.Lock
	by   jobs.Holder
}

// take takes all locks for an attempt, in their order, or none: what stands in
// the way is returned then.
func (k *locks) take(ctx context.Context, key jobs.Key, want []jobs.Lock, ask inquiry) (*refusal, error) {
	h := jobs.Holder{Run: k.run, Token: key.Token, Attempt: key.Attempt, Epoch: k.epoch}
	if len(want) > 1 {
		// Looked at first, so that who waits for one of several takes nothing
		// and rings nobody's bell.
		for _, l := range want {
			if by, err := k.try(ctx, l, h, ask, k.look); by != nil || err != nil {
				return by, err
			}
		}
	}
	for i, l := range want {
		by, err := k.try(ctx, l, h, ask, k.bucket.Acquire)
		if err != nil {
			return nil, err
		}
		if by != nil {
			return by, k.giveBack(ctx, want[:i], func(o jobs.Holder) bool { return o.Is(h) && o.Epoch == h.Epoch })
		}
	}
	return nil, nil
}

// look is Acquire without taking.
func (k *locks) look(ctx context.Context, l jobs.Lock, h jobs.Holder) ([]jobs.Holder, error) {
	held, err := k.bucket.Holders(ctx, l)
	others := slices.DeleteFunc(held, func(o jobs.Holder) bool { return o.Run == h.Run && o.Token == h.Token })
	if len(others) < l.Max {
		return nil, err
	}
	return others, err
}

// try acquires a lock, or looks at it, with those out of the way whose
// attempts are closed.
func (k *locks) try(ctx context.Context, l jobs.Lock, h jobs.Holder, ask inquiry, acquire func(context.Context, jobs.Lock, jobs.Holder) ([]jobs.Holder, error)) (*refusal, error) {
	for {
		others, err := acquire(ctx, l, h)
		if err != nil || len(others) == 0 {
			return nil, err
		}
		gone := k.gone(ctx, others, ask)
		if gone == nil {
			return &refusal{l, others[0]}, ctx.Err()
		}
		if err := k.giveBack(ctx, []jobs.Lock{l}, gone.Is); err != nil {
			return nil, err
		}
	}
}

// giveBack takes holders out of locks.
func (k *locks) giveBack(ctx context.Context, from []jobs.Lock, gone func(jobs.Holder) bool) error {
	for _, l := range from {
		if err := k.bucket.Release(ctx, l, gone); err != nil {
			return err
		}
	}
	return nil
}

// unlock gives back what an attempt, and those before it, have held.
func (k *locks) unlock(ctx context.Context, key jobs.Key, from []jobs.Lock) error {
	return k.giveBack(ctx, from, func(o jobs.Holder) bool {
		return o.Run == k.run && o.Token == key.Token && o.Attempt <= key.Attempt
	})
}

// gone finds one of the holders whose attempt is closed, or can be.
func (k *locks) gone(ctx context.Context, holders []jobs.Holder, ask inquiry) *jobs.Holder {
	led := map[jobs.RunID]bool{k.run: true}
	for _, h := range holders {
		if _, known := led[h.Run]; !known {
			led[h.Run] = k.led(ctx, h.Run)
		}
		if led[h.Run] {
			continue
		}
		over, err := k.over(ctx, h, ask)
		if err != nil && ctx.Err() == nil {
			k.log.Warn("whether another run still holds what this one waits for is not known", "run", h.Run, "module", h.Token, "error", err)
		}
		if over {
			return &h
		}
	}
	return nil
}

// led reports whether somebody decides for a run, as far as is known.
func (k *locks) led(ctx context.Context, run jobs.RunID) bool {
	_, err := k.leases.Holder(ctx, string(run))
	k.mu.Lock()
	defer k.mu.Unlock()
	if !errors.Is(err, broker.ErrNotFound) {
		delete(k.absent, run)
		return true
	}
	if k.absent[run].IsZero() {
		k.absent[run] = time.Now()
	}
	return false
}

// orphaned reports whether nobody has been seen to decide for a run for as
// long as a lease lives, on our own clock: leases are gone for a moment when
// the server or its clock was.
func (k *locks) orphaned(run jobs.RunID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	since := k.absent[run]
	return !since.IsZero() && time.Since(since) >= k.leases.TTL()
}

// over reports whether an attempt of a run that nobody decides for is closed,
// closing it when that may be done.
func (k *locks) over(ctx context.Context, h jobs.Holder, ask inquiry) (bool, error) {
	if closed, err := k.closed(ctx, h); closed || err != nil {
		return closed, err
	}
	if !k.orphaned(h.Run) {
		return false, nil
	}
	return k.reclaim(ctx, h, ask)
}

// closed reports whether the log of a holder's run says that its attempt is
// closed, or there is no such run any more.
func (k *locks) closed(ctx context.Context, h jobs.Holder) (bool, error) {
	last, err := k.conn.Last(ctx, h.Run, h.Token)
	switch rec := last.Record; {
	case err != nil && !errors.Is(err, broker.ErrNotFound):
		return false, err
	case rec.Outcome != nil && (rec.Outcome.Attempt == 0 || rec.Outcome.Attempt >= h.Attempt):
		return true, nil
	case rec.Claim != nil && rec.Claim.Attempt > h.Attempt:
		return true, nil
	}
	if ended, err := k.conn.Ended(ctx, h.Run); ended || err != nil {
		return ended, err
	}
	there, err := k.conn.Exists(ctx, h.Run)
	return !there && err == nil, err
}

// inquiry asks on the loop's goroutine, which owns the fleet, how an attempt
// of another run may be closed; false when it may not be.
type inquiry func(ctx context.Context, state *schedule.Run, key jobs.Key) (schedule.Close, bool)

// reclaim closes an attempt of an orphaned run, as whoever took that run over
// would: it takes the run's lease, records the takeover and writes an outcome
// that expects what the fold has seen. It reports whether the attempt is
// closed.
func (k *locks) reclaim(ctx context.Context, h jobs.Holder, ask inquiry) (bool, error) {
	key := jobs.Key{Token: h.Token, Attempt: h.Attempt}
	state, err := load(ctx, k.conn, h.Run)
	if err != nil {
		return false, err
	}
	if _, may := ask(ctx, state, key); !may {
		return state.Closed(key), nil // looked at before anything is disturbed
	}
	lease, err := k.leases.Acquire(ctx, string(h.Run), k.name)
	if errors.Is(err, kv.ErrHeld) {
		return false, nil // somebody goes on with it
	}
	if err != nil {
		return false, err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasePatience)
		defer cancel()
		if err := lease.Release(last); err != nil {
			k.log.Debug("a lease was not given back; it expires", "run", h.Run, "error", err)
		}
	}()
	leading, cancel := context.WithTimeout(ctx, k.leases.TTL()/2) // nobody renews it
	defer cancel()
	if state, _, err = takeOver(leading, k.conn, h.Run, k.name); err != nil {
		return false, err
	}
	c, may := ask(leading, state, key)
	if !may {
		return state.Closed(key), nil
	}
	return k.close(leading, h.Run, c)
}

func (k *locks) close(ctx context.Context, run jobs.RunID, c schedule.Close) (bool, error) {
	if c.Purge != nil {
		if err := k.conn.PurgeJob(ctx, c.Lane, run, *c.Purge); err != nil {
			return false, err
		}
	}
	_, err := k.conn.Append(ctx, run, c.Cell, c.Expect, jobs.Record{Outcome: &c.Outcome})
	if errors.Is(err, broker.ErrConflict) {
		return false, nil // its worker was first
	}
	if err == nil {
		k.log.Warn("closed an attempt of a run that nobody decides for: it held what this run waits for",
			"run", run, "module", c.Cell, "attempt", c.Outcome.Attempt, "as", c.Outcome.Status)
	}
	return err == nil, err
}
