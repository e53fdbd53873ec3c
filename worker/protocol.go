package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/jobs"
)

// clock is the time of day, for package attempt.
type clock struct{}

func (clock) Now() time.Time { return time.Now() }

func (clock) Pause(ctx context.Context, d time.Duration) error { return pause.For(ctx, d) }

func (clock) Await(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (clock) Within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}

// persist calls f until it returns an answer: a result of any kind but an unreachable
// NATS. The answers are nil, a refusal, an absence, a denied permission, and data that
// is too large.
func persist(ctx context.Context, f func(context.Context) error) error {
	return attempt.Persist(ctx, clock{}, func(ctx context.Context) error { return understood(f(ctx)) })
}

// answer is an error of package broker that is also one of package attempt.
type answer struct {
	error
	means error
}

func (a answer) Unwrap() []error { return []error{a.error, a.means} }

// understood translates an error of package broker for package attempt.
func understood(err error) error {
	switch {
	case errors.Is(err, broker.ErrConflict):
		return answer{err, attempt.ErrConflict}
	case errors.Is(err, broker.ErrNotFound):
		return answer{err, attempt.ErrNotFound}
	case errors.Is(err, broker.ErrDenied), errors.Is(err, broker.ErrForeign): // waiting does not help
		return answer{err, attempt.ErrDenied}
	case errors.Is(err, broker.ErrReconnected):
		return answer{err, attempt.ErrReconnected}
	}
	return err
}

// runLog is the log of runs, for package attempt.
type runLog struct{ conn *broker.Conn }

func (l runLog) Connection() uint64 { return l.conn.Connection() }

func (l runLog) Append(ctx context.Context, on uint64, cell attempt.Cell, expect uint64, rec jobs.Record) (uint64, error) {
	seq, err := l.conn.Runs.ForAttempt(cell.Key).Append(l.conn.PinTo(ctx, on), cell.Run, cell.Module, expect, rec)
	return seq, understood(err)
}

func (l runLog) Last(ctx context.Context, cell attempt.Cell) (jobs.Entry, error) {
	entry, err := l.conn.Runs.ForAttempt(cell.Key).OwnLast(ctx, cell.Run, cell.Module)
	return entry, understood(err)
}

func (l runLog) Ended(ctx context.Context, run jobs.RunID) (bool, error) {
	ended, err := l.conn.Runs.Ended(ctx, run)
	if err == nil && !ended {
		var there bool
		if there, err = l.conn.Runs.Exists(ctx, run); err == nil && !there {
			err = fmt.Errorf("run %s: %w", run, broker.ErrNotFound)
		}
	}
	return ended, understood(err)
}

func (l runLog) Ask(_ context.Context, run jobs.RunID, q jobs.Question) error {
	return l.conn.Control.Ask(run, &q)
}
