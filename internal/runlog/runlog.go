// Package runlog reads and folds the log of a run for every part of modpipe that
// needs its state: orchestrators, and the callers that ask about runs.
//
// A fold of a damaged log must not take a program down. So Load and Contain turn
// a panic over one run into ErrPanicked, and Unreadable tells the errors that
// stay until the log changes from those that pass.
package runlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/schedule"
)

// ErrPanicked reports that modpipe panicked over a run. Every other run goes on;
// this one is set aside.
var ErrPanicked = errors.New("handling the run panicked, which is a fault of modpipe")

// Logs are the logs of runs on one NATS, as broker.Runs has them.
type Logs interface {
	// Read reads a whole log. jetstream.ErrNotFound when there is no such run.
	Read(ctx context.Context, run jobs.RunID) ([]jobs.Entry, error)
	// Follow sends the entries after a sequence until ctx ends.
	// jetstream.ErrReconnected when they may begin again from the first.
	Follow(ctx context.Context, run jobs.RunID, after uint64, out chan<- jobs.Entry) error
	// WatchGone returns an error when NATS has lost the log.
	WatchGone(ctx context.Context, run jobs.RunID) error
}

// Buffered bounds the entries of a log that a reader holds ahead of its fold.
const Buffered = 1024

// Contain calls f and turns a panic in it into ErrPanicked, with the stack in
// the log.
func Contain(log *slog.Logger, run jobs.RunID, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			log.Error("handling a run panicked", "run", run, "panic", v, "stack", string(debug.Stack()))
			err = panicked(run, v)
		}
	}()
	return f()
}

func panicked(run jobs.RunID, v any) error {
	return fmt.Errorf("run %s: %w: %v", run, ErrPanicked, v)
}

// Unreadable reports whether an error says that the log of a run cannot be
// folded: it is corrupt, a newer version has written it, or modpipe panics over
// it. No orchestrator can decide for such a run before its log changes.
func Unreadable(err error) bool {
	return errors.Is(err, ErrPanicked) || errors.Is(err, schedule.ErrCorrupt) || errors.Is(err, jobs.ErrNewer) || errors.Is(err, jobs.ErrMalformed)
}

// Load reads and folds the whole log of a run. jetstream.ErrNotFound when there is
// no such run; an error for which Unreadable is true when it cannot be folded.
func Load(ctx context.Context, logs Logs, run jobs.RunID) (state *schedule.Run, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(run, v)
		}
	}()
	entries, err := logs.Read(ctx, run)
	if err != nil {
		return nil, fmt.Errorf("read the log of run %s: %w", run, err)
	}
	return schedule.Load(entries, nil)
}

// errRejected ends a reading of a log that has believed forged records.
var errRejected = errors.New("records that were passed on are rejected")

// Follow sends the entries of a log to out, and an entry without a sequence
// before they begin again from the first. They do so after a new connection, and
// when the log rejects records that this reader could not verify. From then on it
// marks these as forged.
func Follow(ctx context.Context, logs Logs, run jobs.RunID, out chan<- jobs.Entry) error {
	var known schedule.Rejections
	for {
		err := pass(ctx, logs, run, &known, out)
		switch {
		case errors.Is(err, jetstream.ErrReconnected):
			known = schedule.Rejections{} // the server may use sequences again
		case errors.Is(err, errRejected):
			entries, err := logs.Read(ctx, run)
			if err != nil {
				return fmt.Errorf("read the log of run %s: %w", run, err)
			}
			known.Learn(entries)
		default:
			return err
		}
		known.Again()
		select {
		case out <- jobs.Entry{}:
		case <-ctx.Done():
			return nil
		}
	}
}

// pass passes a log on from its first entry. It returns errRejected, or the error of
// the log.
func pass(ctx context.Context, logs Logs, run jobs.RunID, known *schedule.Rejections, out chan<- jobs.Entry) error {
	g, reading := errgroup.WithContext(ctx)
	entries := make(chan jobs.Entry)
	g.Go(func() error {
		defer close(entries)
		return logs.Follow(reading, run, 0, entries)
	})
	g.Go(func() error {
		for e := range entries {
			if known.Mark(&e) {
				return errRejected
			}
			select {
			case out <- e:
			case <-ctx.Done():
				return nil
			}
		}
		return nil
	})
	return g.Wait()
}

// WatchGone returns an error when NATS has lost the log of a run. A program
// without the permission to see it does without the watch.
func WatchGone(ctx context.Context, logs Logs, run jobs.RunID) error {
	err := logs.WatchGone(ctx, run)
	if errors.Is(err, jetstream.ErrDenied) {
		return nil
	}
	return err
}
