package locks

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/schedule"
)

// Logs are the logs of other runs.
type Logs interface {
	// Last reads the newest record of a cell, an empty one when the cell has none.
	Last(ctx context.Context, run jobs.RunID, cell jobs.ModuleID) (jobs.Record, error)
	// Over reports whether the run has ended, or does not exist.
	Over(ctx context.Context, run jobs.RunID) (bool, error)
	// Load folds the log.
	Load(ctx context.Context, run jobs.RunID) (*schedule.Run, error)
	// TakeOver records in the log that we decide for the run from here on, and
	// folds the records before.
	TakeOver(ctx context.Context, run jobs.RunID) (*schedule.Run, error)
	// Close writes the outcome of a decision. It reports false when another writer
	// was first.
	Close(ctx context.Context, run jobs.RunID, c schedule.Close) (bool, error)
}

// Leases are the leases of other runs.
type Leases interface {
	// TTL is how long a lease lives that is not renewed.
	TTL() time.Duration
	// Led reports whether an orchestrator holds the run's lease, as far as is
	// known, and the epoch of its takeover; 0 = not known.
	Led(ctx context.Context, run jobs.RunID) (epoch uint64, led bool)
	// Take takes the lease if it is free, and returns the function that gives it
	// back.
	Take(ctx context.Context, run jobs.RunID) (release func(), ok bool, err error)
}

// Clock is time.
type Clock interface {
	Now() time.Time
	// Within is ctx with a time limit.
	Within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
}

// Inquiry returns the outcome that may close an attempt of another run, by its
// log and the registry of workers; false when none may.
type Inquiry func(ctx context.Context, state *schedule.Run, id jobs.AttemptID) (schedule.Close, bool)

// Taker takes locks for the attempts of a run. Its methods may be called from
// several goroutines.
type Taker struct {
	Run    jobs.RunID
	Epoch  uint64 // of the orchestrator that decides for the run
	Bucket Bucket
	Logs   Logs
	Leases Leases
	Clock  Clock
	Ask    Inquiry
	Logger *slog.Logger
	// Ungranted says that attempts hold these locks without a grant: an entry counts
	// until its attempt is closed, by any orchestrator.
	Ungranted bool

	mu      sync.Mutex
	absent  map[jobs.RunID]time.Time // since when no orchestrator has held the run's lease
	granted map[jobs.Holder]bool     // entries of an older orchestrator that the log grants
}

// Refusal is a lock that could not be taken, and its holder.
type Refusal struct {
	Lock jobs.Lock
	By   jobs.Holder
}

// Take takes all locks for an attempt, in their order, or none; then it returns
// the lock that was refused.
func (t *Taker) Take(ctx context.Context, id jobs.AttemptID, want []jobs.Lock) (*Refusal, error) {
	h := jobs.Holder{Run: t.Run, Module: id.Module, Attempt: id.Attempt, Epoch: t.Epoch}
	if len(want) > 1 {
		// Read first: an attempt that waits for one of several locks then writes
		// nothing, and wakes no other run.
		for _, l := range want {
			if by, err := t.try(ctx, l, h, t.peek, nil); by != nil || err != nil {
				return by, err
			}
		}
	}
	for i, l := range want {
		by, err := t.try(ctx, l, h, t.acquire, nil)
		if err != nil {
			return nil, err
		}
		if by != nil {
			return by, t.giveBack(ctx, want[:i], func(o jobs.Holder) bool { return o.Is(h) && o.Epoch == h.Epoch })
		}
	}
	return nil, nil
}

func (t *Taker) acquire(ctx context.Context, l jobs.Lock, h jobs.Holder) ([]jobs.Holder, error) {
	return Acquire(ctx, t.Bucket, l, h)
}

// peek is acquire without taking.
func (t *Taker) peek(ctx context.Context, l jobs.Lock, h jobs.Holder) ([]jobs.Holder, error) {
	entry, _, err := t.Bucket.Read(ctx, l)
	others := slices.DeleteFunc(entry.Holders, func(o jobs.Holder) bool { return o.Run == h.Run && o.Module == h.Module })
	if len(others) < l.Max {
		return nil, err
	}
	return others, err
}

// try acquires a lock, or peeks at it, and evicts the holders that do not count
// any more. An entry that a newer orchestrator writes in between stays. It calls
// evicting, unless it is nil, with each holder before it evicts it.
func (t *Taker) try(
	ctx context.Context, l jobs.Lock, h jobs.Holder,
	acquire func(context.Context, jobs.Lock, jobs.Holder) ([]jobs.Holder, error), evicting func(jobs.Holder),
) (*Refusal, error) {
	for {
		others, err := acquire(ctx, l, h)
		if err != nil || len(others) == 0 {
			return nil, err
		}
		gone := t.gone(ctx, others)
		if gone == nil {
			return &Refusal{l, others[0]}, ctx.Err()
		}
		if evicting != nil {
			evicting(*gone)
		}
		if err := t.giveBack(ctx, []jobs.Lock{l}, func(o jobs.Holder) bool { return o == *gone }); err != nil {
			return nil, err
		}
	}
}

// giveBack removes holders from locks.
func (t *Taker) giveBack(ctx context.Context, from []jobs.Lock, gone func(jobs.Holder) bool) error {
	for _, l := range from {
		if err := Release(ctx, t.Bucket, l, gone); err != nil {
			return err
		}
	}
	return nil
}

// GiveBack gives back the locks of an attempt, and of the attempts of its module
// before it.
func (t *Taker) GiveBack(ctx context.Context, id jobs.AttemptID, from []jobs.Lock) error {
	return t.giveBack(ctx, from, func(o jobs.Holder) bool {
		return o.Run == t.Run && o.Module == id.Module && o.Attempt <= id.Attempt
	})
}

// Leave gives back all locks that an ended run holds.
func Leave(ctx context.Context, b Bucket, run jobs.RunID, from []jobs.Lock) error {
	for _, l := range from {
		if err := Release(ctx, b, l, func(h jobs.Holder) bool { return h.Run == run }); err != nil {
			return err
		}
	}
	return nil
}
