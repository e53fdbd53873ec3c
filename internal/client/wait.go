package client

import (
	"context"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// WaitOptions configures Wait. The zero value waits without a limit.
type WaitOptions struct {
	Follow FollowOptions
	// Timeout bounds the wait; 0 = no limit. The run goes on after it.
	Timeout time.Duration
	// Alone states that no other process uses this NATS. A run without an
	// orchestrator then never ends, and Wait returns ErrUndecided.
	Alone bool
	// Undecided is called, once, when the run has not ended and no orchestrator
	// decides for it or serves. Wait then waits until one takes it over. nil = not called.
	Undecided func()
}

// Wait returns the report of a run when it has ended. Its errors are those of
// Follow, ErrTimeout, and ErrUndecided.
func (c *Client) Wait(ctx context.Context, run jobs.RunID, o WaitOptions) (*report.Report, error) {
	if err := c.checkDecided(ctx, run, o); err != nil {
		return nil, err
	}
	waiting := ctx
	if o.Timeout > 0 {
		var stop context.CancelFunc
		waiting, stop = context.WithTimeout(ctx, o.Timeout)
		defer stop()
	}
	rep, err := c.Follow(waiting, run, o.Follow)
	if rep == nil && waiting.Err() != nil && ctx.Err() == nil {
		return nil, ErrTimeout
	}
	return rep, err
}

// checkDecided notifies of a run that has not ended and that no orchestrator
// decides for. When NATS gives no answer it leaves the error to Follow.
func (c *Client) checkDecided(ctx context.Context, run jobs.RunID, o WaitOptions) error {
	if ended, err := c.Ended(ctx, run); err != nil || ended {
		return nil //nolint:nilerr // see above
	}
	if o.Alone {
		if _, err := c.Show(ctx, run); err != nil {
			return err
		}
		return ErrUndecided
	}
	if o.Undecided == nil {
		return nil
	}
	if exists, err := c.conn.Runs.Exists(ctx, run); err != nil || !exists {
		return nil //nolint:nilerr // see above
	}
	if decided, err := c.Decided(ctx, run); err == nil && !decided {
		o.Undecided()
	}
	return nil
}
