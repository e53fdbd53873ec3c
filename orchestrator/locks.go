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
	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/schedule"
)

// shared connects a run to the keys and limits that all runs share. Package
// locks decides about them. shared opens the buckets when the run asks for its
// first lock.
type shared struct {
	conn  *broker.Conn
	log   *slog.Logger
	name  string // of this orchestrator
	taker locks.Taker

	opened chan struct{} // closed when the buckets are open
	bucket *kv.Locks     // set before opened is closed

	wanted chan struct{} // closed when the run asks for its first lock

	mu    sync.Mutex
	known []jobs.Lock // that the run has asked for or released
}

func newShared(c *broker.Conn, cfg Config, run jobs.RunID, epoch, fencing uint64, ask locks.Inquiry) *shared {
	return &shared{
		conn: c, log: cfg.Logger, name: cfg.Name,
		taker:  locks.Taker{Run: run, Epoch: epoch, Logs: otherLogs{c, cfg.Name, fencing}, Clock: wall{}, Ask: ask, Logger: cfg.Logger},
		opened: make(chan struct{}), wanted: make(chan struct{}),
	}
}

// watch waits until the run asks for its first lock, and opens the buckets. Then
// it calls changed whenever a lock that the run has asked for may have become
// free. It returns nil when ctx ends before the first lock.
func (k *shared) watch(ctx context.Context, changed func()) error {
	select {
	case <-k.wanted:
	case <-ctx.Done():
		return nil
	}
	var err error
	if k.bucket, err = kv.OpenLocks(ctx, k.conn.Conn); err != nil {
		return fmt.Errorf("open the bucket of locks: %w", err)
	}
	leases, err := kv.OpenLeases(ctx, k.conn.Conn)
	if err != nil {
		return fmt.Errorf("open the bucket of leases: %w", err)
	}
	k.taker.Bucket, k.taker.Leases = k.bucket, otherLeases{leases, k.name, k.log}
	close(k.opened)
	return k.bucket.Watch(ctx, k.all, changed)
}

// all returns the locks that the run has asked for or released.
func (k *shared) all() []jobs.Lock {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.known)
}

// want remembers locks. The loop calls it.
func (k *shared) want(more []jobs.Lock) {
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

// await returns true when the buckets are open, and false when ctx has ended.
func (k *shared) await(ctx context.Context) bool {
	select {
	case <-k.opened:
		return true
	case <-ctx.Done():
		return false
	}
}

// otherLogs reads and writes the logs of other runs. It implements locks.Logs.
type otherLogs struct {
	conn    *broker.Conn
	name    string // of this orchestrator
	fencing uint64 // epoch of fencing tokens
}

func (o otherLogs) Last(ctx context.Context, run jobs.RunID, cell jobs.ModuleID) (jobs.Record, error) {
	last, err := o.conn.Runs.Last(ctx, run, cell)
	if errors.Is(err, broker.ErrNotFound) {
		err = nil
	}
	return last.Record, err
}

func (o otherLogs) Over(ctx context.Context, run jobs.RunID) (bool, error) {
	if ended, err := o.conn.Runs.Ended(ctx, run); ended || err != nil {
		return ended, err
	}
	exists, err := o.conn.Runs.Exists(ctx, run)
	return !exists && err == nil, err
}

func (o otherLogs) Load(ctx context.Context, run jobs.RunID) (*schedule.Run, error) {
	if err := CheckKey(ctx, o.conn, run); err != nil {
		return nil, err // it could not tell forged records from others
	}
	return runlog.Load(ctx, o.conn.Runs, run)
}

func (o otherLogs) TakeOver(ctx context.Context, run jobs.RunID) (*schedule.Run, error) {
	t := takeover{conn: o.conn, run: run, name: o.name, fencing: o.fencing}
	return t.take(ctx)
}

func (o otherLogs) Close(ctx context.Context, run jobs.RunID, c schedule.Close) (bool, error) {
	if c.Purge != nil {
		if err := o.conn.Queue.Purge(ctx, c.Lane, run, *c.Purge); err != nil {
			return false, err
		}
	}
	first, err := o.conn.Runs.FirstTakeover(ctx, run) // that of TakeOver, at the latest
	if err != nil {
		return false, err
	}
	_, err = o.conn.Runs.ForRun(o.conn.Keys().RunKey(first.Key, run)).Append(ctx, run, c.Cell, c.Expect, jobs.Record{Outcome: signed(c.Outcome, o.name)})
	if errors.Is(err, broker.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

// otherLeases reads and acquires the leases of other runs. It implements
// locks.Leases.
type otherLeases struct {
	*kv.Leases
	name string // of this orchestrator
	log  *slog.Logger
}

func (o otherLeases) Led(ctx context.Context, run jobs.RunID) (uint64, bool) {
	lease, err := o.Holder(ctx, string(run))
	return lease.Epoch, !errors.Is(err, broker.ErrNotFound)
}

func (o otherLeases) Take(ctx context.Context, run jobs.RunID) (release func(), ok bool, err error) {
	lease, err := o.Acquire(ctx, string(run), o.name)
	if errors.Is(err, kv.ErrHeld) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasePatience)
		defer cancel()
		if err := lease.Release(last); err != nil {
			o.log.Debug("releasing a lease failed; it expires", "run", run, "error", err)
		}
	}, true, nil
}

// wall is the clock of this machine. It implements locks.Clock.
type wall struct{}

func (wall) Now() time.Time { return time.Now() }

func (wall) Within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}
