package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// Show returns the report of a run as it is now. It returns broker.ErrNotFound
// when there is no such run.
func (c *Client) Show(ctx context.Context, run jobs.RunID) (*report.Report, error) {
	state, err := runlog.Load(ctx, c.conn.Runs, run)
	if runlog.Unreadable(err) {
		if r := c.endedByForce(ctx, run); r != nil {
			return r, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return c.reportOf(ctx, state)
}

func (c *Client) reportOf(ctx context.Context, state *schedule.Run) (*report.Report, error) {
	return state.Report(func(v jobs.Value) (map[string]string, error) {
		values, err := c.conn.Values.Outputs(ctx, v)
		if errors.Is(err, broker.ErrNotFound) {
			err = fmt.Errorf("%w: %w", jobs.ErrMalformed, err) // a lost value does not come back
		}
		return values, err
	})
}

// Check folds the log of a run and returns the error, if any.
func (c *Client) Check(ctx context.Context, run jobs.RunID) error {
	_, err := runlog.Load(ctx, c.conn.Runs, run)
	return err
}

// Spec reads the specification of a run. The caller must not change it.
func (c *Client) Spec(ctx context.Context, run jobs.RunID) (*jobs.Spec, error) {
	return c.conn.Runs.Spec(ctx, run)
}

// Durations reads how long the modules of a pipeline took in earlier runs.
func (c *Client) Durations(ctx context.Context, pipeline string) (jobs.Durations, error) {
	return kv.Durations(ctx, c.conn.Conn, pipeline)
}
