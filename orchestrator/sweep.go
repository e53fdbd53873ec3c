package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// Retention says how long the logs of runs that have ended are kept.
type Retention struct {
	Keep  time.Duration // since the end; 0 = 30 days
	Bytes int64         // at most so much; 0 = what the stream may hold
	// Grace is for how long a run is kept whatever it takes; 0 = 10 minutes.
	Grace time.Duration
	Ends  time.Duration // for how long the mere end of a run is kept, which keeps its id from being used again; 0 = a year
	Every time.Duration // between sweeps, by whomever; 0 = 10 minutes, or 1 minute where room is short
}

// DefaultKeep is how long the log of a run is kept that has ended.
const DefaultKeep = 30 * 24 * time.Hour

const (
	keepAtLeast          = 10 * time.Minute
	sweepInterval        = 10 * time.Minute
	sweepPressedInterval = time.Minute
	keepEnds             = 365 * 24 * time.Hour
	pressedAbove         = 0.8 // of the limit: from there on the oldest go before their time
	pressedUntil         = 0.6
	dropBatch            = 16 // between two looks at how much is left
)

func (r Retention) withDefaults() Retention {
	r.Keep = cmp.Or(r.Keep, DefaultKeep)
	r.Grace = cmp.Or(r.Grace, keepAtLeast)
	r.Ends = cmp.Or(r.Ends, keepEnds)
	return r
}

// Swept is what a sweep has done.
type Swept struct {
	Ours      bool // it was our turn
	Dropped   int  // runs whose logs are gone
	Blobs     int  // large values that are gone
	Forgotten int  // runs that have left nothing
	Jobs      int  // jobs that nobody can do
}

// Sweep drops the logs of runs that ended long ago, and, where the log of runs
// is nearly full, of those that ended first, until there is room. Any number
// of orchestrators may call it at any time: it is one's turn at a time.
//
// A log is dropped only when nobody can commit to it any more. Who could?
//
//   - A worker that executes something of the run: its entry in the registry
//     names it, and then the run is left for the next sweep. (The run has
//     ended, so what it executes was closed by others.)
//   - An orchestrator of the run: it has the lease, and the run is left.
//   - A worker or an orchestrator that is cut off, or stopped, and comes back
//     later; how much later nobody knows. Nothing that it writes counts. Every
//     write expects the last sequence of its subject. With any but 0 it is
//     refused, because what had that sequence is gone, and sequences are not
//     used twice. 0 is expected by an attempt that found its cell empty, and
//     would be accepted into the empty cell: but the run's end still stands,
//     nobody folds a log without its specification, and the id is not used
//     again, so that such a record is nobody's. It goes with the end. A job is
//     not begun any more either: those of the run were purged after its end,
//     and a delivery that is as old as this is doubtful, and looks for the end
//     first.
//
// The grace keeps what has only just ended, so that whoever follows a run or
// asks how it ended finds it, also where room is short.
//
// Ages are counted on the server's clock alone: it has written the time of the
// end, and says what time it is now. A wrong clock of this machine drops
// nothing.
func Sweep(ctx context.Context, c *broker.Conn, r Retention) (Swept, error) {
	s := sweep{conn: c, keep: r.withDefaults()}
	err := s.sweep(ctx)
	if err != nil {
		err = fmt.Errorf("sweep what old runs have left: %w", err)
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
	every := sweepInterval
	if pressed || full(blobs) {
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
	if err == nil && full(blobs) {
		err = s.dropBlobs(ctx)
	}
	return err
}

func share(u jetstream.Usage, limit int64) float64 { return float64(u.Bytes) / float64(limit) }

// look finds out which runs somebody is busy with. It comes after the list of
// those that have ended, so that nobody is missed: no worker takes up an ended
// run.
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

// aged drops what is past its age, and returns what is left and may go.
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
	if errors.Is(err, broker.ErrNotFound) { // somebody has made away with it
		return nil
	}
	if err == nil {
		s.done.Dropped++
	}
	return err
}

func (s *sweep) forget(ctx context.Context, e broker.EndedRun) error {
	if s.now.Sub(e.Ended) < s.keep.Ends {
		return nil
	}
	s.done.Forgotten++
	return s.conn.Runs.Forget(ctx, e.Run)
}

// makeRoom drops the oldest until there is room.
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

// sweepCheck is how often those that serve look whether there is anything to
// sweep.
const sweepCheck = time.Minute

// sweeps sweeps until ctx ends. Nothing depends on it, so that what goes wrong
// is told, and tried again.
func (s *server) sweeps(ctx context.Context) error {
	tick := time.NewTicker(cmp.Or(s.cfg.Retention.Every, sweepCheck))
	defer tick.Stop()
	for {
		done, err := Sweep(ctx, s.broker, s.cfg.Retention)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			s.cfg.Logger.Warn("what old runs have left is not dropped; trying again", "error", err)
		case done.Jobs > 0:
			s.cfg.Logger.Warn("removed jobs of runs that do not exist, or of a newer version that nobody did", "jobs", done.Jobs)
		case done.Dropped+done.Forgotten+done.Blobs > 0:
			s.cfg.Logger.Info("what old runs have left is dropped", "runs", done.Dropped, "forgotten", done.Forgotten, "large values", done.Blobs)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
