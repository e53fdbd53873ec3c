package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// Retention configures how long the logs of ended runs are kept.
type Retention struct {
	Keep  time.Duration // age of the end at which the log is dropped; 0 = 30 days
	Bytes int64         // limit of all logs together, in bytes; 0 = the limit of the stream
	// Grace is how long a log is kept after the end even when space is short;
	// 0 = 10 minutes.
	Grace time.Duration
	// Ends is how long the end of a run is kept after its log is dropped. While
	// it is kept, the id cannot be used again; 0 = 365 days.
	Ends time.Duration
	// Every is the time between two sweeps by any orchestrators; 0 = 10 minutes,
	// or 1 minute when space is short.
	Every time.Duration
}

// DefaultKeep is how long the log of an ended run is kept by default.
const DefaultKeep = 30 * 24 * time.Hour

const (
	keepAtLeast          = 10 * time.Minute
	sweepInterval        = 10 * time.Minute
	sweepPressedInterval = time.Minute
	keepEnds             = 365 * 24 * time.Hour
	pressedAbove         = 0.8 // share of the limit above which the oldest data is dropped before its age
	pressedUntil         = 0.6 // share of the limit below which the sweep stops to do so
	dropBatch            = 16  // how many are dropped between two checks of the usage
)

func (r Retention) withDefaults() Retention {
	r.Keep = cmp.Or(r.Keep, DefaultKeep)
	r.Grace = cmp.Or(r.Grace, keepAtLeast)
	r.Ends = cmp.Or(r.Ends, keepEnds)
	return r
}

// Swept counts what a sweep has removed.
type Swept struct {
	Ours      bool // it was this orchestrator's turn
	Dropped   int  // runs whose logs were dropped
	Blobs     int  // values that were dropped: large ones of runs, and parts of trees of files
	Entries   int  // entries of the cache
	Forgotten int  // runs whose ends were dropped, too
	Jobs      int  // jobs that no worker can do
}

// Sweep drops the logs of runs that ended long ago. When the log of runs is
// nearly full, it also drops the logs of the runs that ended first, until there
// is room. It also removes jobs that no worker can do, and large values that no
// run needs. Any number of orchestrators may call it at any time. The
// orchestrators take turns, and one of them sweeps at a time. Sweep returns
// without an error, and with Ours false, when it is not its turn.
//
// Sweep drops a log only when no process can commit to it any more. Three kinds
// of processes could:
//
//   - A worker that executes an attempt of the run. Its entry in the registry
//     names the run, and Sweep leaves the run for the next sweep. (The run has
//     ended, so an orchestrator has closed the attempt.)
//   - An orchestrator of the run. It holds the lease, and Sweep leaves the run.
//   - A worker or an orchestrator that is disconnected or stopped, and comes
//     back at any later time. None of its writes counts. Every write expects
//     the last sequence of its subject. A write that expects a sequence other
//     than 0 is refused, because the record with that sequence is gone, and
//     sequences are not used twice. A write that expects 0 comes from an
//     attempt that found its cell empty, and the empty cell accepts it. But the
//     end of the run is still stored, no process folds a log without its
//     specification, and the id is not used again. So no process reads such a
//     record, and it is removed together with the end. Such a worker starts no
//     job either: the jobs of the run were purged after its end, and a worker
//     checks an old delivery for the end of its run before it starts.
//
// The grace keeps the logs of runs that have just ended, also when space is
// short. A process that follows a run or reads its report still finds it.
//
// Sweep computes ages with the server's clock only: the server has stamped the
// end, and it reports the current time. A wrong clock of this machine drops no
// log.
func Sweep(ctx context.Context, c *broker.Conn, r Retention) (Swept, error) {
	s := sweep{conn: c, keep: r.withDefaults(), gone: map[content.Ref]bool{}}
	err := s.sweep(ctx)
	if err != nil {
		err = fmt.Errorf("sweep the data of old runs: %w", err)
	}
	return s.done, err
}

// sweep is one sweep.
type sweep struct {
	conn *broker.Conn
	keep Retention
	now  time.Time // by the server's clock
	busy map[jobs.RunID]bool
	done Swept

	cache *kv.Cache            // nil = no such bucket
	keys  []kv.CacheKey        // its keys that refer to content, the least recently used first
	gone  map[content.Ref]bool // values that were dropped
}

func (s *sweep) sweep(ctx context.Context) error {
	usage, err := s.conn.Runs.Usage(ctx)
	if err != nil {
		return err
	}
	s.now = usage.Now
	limit := cmp.Or(s.keep.Bytes, usage.MaxBytes)
	pressed := share(usage, limit) > pressedAbove
	blobs, err := s.conn.Values.Usage(ctx)
	if err != nil {
		return err
	}
	crowded, err := s.openCache(ctx)
	if err != nil {
		return err
	}
	every := sweepInterval
	if pressed || crowded || full(blobs) {
		every = sweepPressedInterval
	}
	every = cmp.Or(s.keep.Every, every)
	if s.done.Ours, err = kv.SweepTurn(ctx, s.conn.Conn, s.now, every); err != nil || !s.done.Ours {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, max(every, sweepPressedInterval))
	defer cancel()
	if err := s.dropJobs(ctx); err != nil {
		return err
	}
	ended, err := s.conn.Runs.ListEnded(ctx)
	if err != nil {
		return err
	}
	if err := s.listBusy(ctx); err != nil {
		return err
	}
	left, err := s.aged(ctx, ended)
	if err == nil && pressed {
		err = s.makeRoom(ctx, left, limit)
	}
	if err == nil {
		err = s.listCache(ctx, crowded)
	}
	if err == nil {
		err = s.dropBlobs(ctx, full(blobs))
	}
	if err == nil {
		err = s.dropEmptied(ctx)
	}
	return err
}

func share(u jetstream.Usage, limit int64) float64 { return float64(u.Bytes) / float64(limit) }

// listBusy lists the runs that a worker or an orchestrator is busy with. It runs
// after the ended runs are listed. So it finds every busy process, because no
// worker begins an attempt of a run that has ended.
func (s *sweep) listBusy(ctx context.Context) error {
	s.busy = map[jobs.RunID]bool{}
	workers, err := kv.Workers(ctx, s.conn.Conn)
	if err != nil {
		return err
	}
	for i := range workers {
		for _, e := range workers[i].Running {
			s.busy[e.Run] = true
		}
	}
	leases, err := kv.Holders(ctx, s.conn.Conn)
	for run := range leases {
		s.busy[jobs.RunID(run)] = true
	}
	return err
}

// aged drops the logs and ends that are past their age. It returns the other runs
// that may be dropped when space is short.
func (s *sweep) aged(ctx context.Context, ended []broker.EndedRun) (left []broker.EndedRun, err error) {
	for _, e := range ended {
		age := s.now.Sub(e.Ended)
		switch {
		case e.Dropped:
			err = s.forget(ctx, e)
		case age < s.keep.Grace || s.busy[e.Run]:
		case age >= s.keep.Keep:
			err = s.drop(ctx, e.Run)
		default:
			left = append(left, e)
		}
		if err != nil {
			return nil, err
		}
	}
	return left, nil
}

func (s *sweep) drop(ctx context.Context, run jobs.RunID) error {
	err := s.conn.Runs.Drop(ctx, run)
	if errors.Is(err, broker.ErrNotFound) { // another process has removed it
		return nil
	}
	if err == nil {
		s.done.Dropped++
	}
	return err
}

// forget removes the end of a run whose log was dropped, when it is old enough.
func (s *sweep) forget(ctx context.Context, e broker.EndedRun) error {
	if s.now.Sub(e.Ended) < s.keep.Ends {
		return nil
	}
	s.done.Forgotten++
	return s.conn.Runs.Forget(ctx, e.Run)
}

// makeRoom drops the oldest logs until there is room.
func (s *sweep) makeRoom(ctx context.Context, oldest []broker.EndedRun, limit int64) error {
	for len(oldest) > 0 {
		usage, err := s.conn.Runs.Usage(ctx)
		if err != nil || share(usage, limit) < pressedUntil {
			return err
		}
		n := min(dropBatch, len(oldest))
		for _, e := range oldest[:n] {
			if err := s.drop(ctx, e.Run); err != nil {
				return err
			}
		}
		oldest = oldest[n:]
	}
	return nil
}

// sweepCheck is how often an orchestrator that serves tries to sweep.
const sweepCheck = time.Minute

// sweeps sweeps until ctx ends. No run depends on a sweep. So sweeps logs an
// error and tries again.
func (s *server) sweeps(ctx context.Context) error {
	tick := time.NewTicker(cmp.Or(s.cfg.Retention.Every, sweepCheck))
	defer tick.Stop()
	for {
		done, err := Sweep(ctx, s.broker, s.cfg.Retention)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			s.cfg.Logger.Warn("sweep failed; trying again", "error", err)
		case done.Jobs > 0:
			s.cfg.Logger.Warn("removed jobs of runs that do not exist, or of a newer version that no worker took", "jobs", done.Jobs)
		case done.Dropped+done.Forgotten+done.Blobs+done.Entries > 0:
			s.cfg.Logger.Info("dropped the data of old runs", "runs", done.Dropped, "forgotten", done.Forgotten, "large values", done.Blobs, "cache entries", done.Entries)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
