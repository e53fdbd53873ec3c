package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/jobs"
)

// Cancel records a cancellation and returns when it is stored. An empty ID is
// replaced by a random one. A second cancellation of a run also ends its
// always-run modules. Cancel returns broker.ErrNotFound when there is no such
// run, and ErrEnded when the last module of the run has ended.
func (c *Client) Cancel(ctx context.Context, run jobs.RunID, cancel jobs.Cancel) error {
	if cancel.ID == "" {
		cancel.ID = ident.New()
	}
	for {
		state, err := runlog.Load(ctx, c.conn.Runs, run)
		if err != nil {
			return err
		}
		if state.Ended() != nil || state.Live() == 0 {
			return fmt.Errorf("run %s: %w", run, ErrEnded)
		}
		_, err = c.conn.Runs.Append(ctx, run, "", state.CancelSequence(), jobs.Record{Cancel: &cancel})
		if err == nil {
			break
		}
		if !errors.Is(err, broker.ErrConflict) {
			return err
		}
		last, err := c.conn.Runs.LastCancel(ctx, run)
		if err != nil {
			return err
		}
		if last.Record.Cancel != nil && last.Record.Cancel.ID == cancel.ID {
			break // this call stored it, and the answer was lost
		}
	}
	state, err := runlog.Load(ctx, c.conn.Runs, run)
	if err != nil {
		return err
	}
	if state.TooLate(cancel.ID) {
		return fmt.Errorf("run %s: %w", run, ErrEnded)
	}
	return nil
}

// Cancellation returns the first cancellation of a run, or nil when the run has
// none.
func (c *Client) Cancellation(ctx context.Context, run jobs.RunID) (*jobs.Cancel, error) {
	log, err := c.conn.Runs.Read(ctx, run)
	if err != nil {
		return nil, err
	}
	for _, e := range log {
		if e.Record.Cancel != nil {
			return e.Record.Cancel, nil
		}
	}
	return nil, nil
}

// Ended reports whether a run has ended.
func (c *Client) Ended(ctx context.Context, run jobs.RunID) (bool, error) {
	return c.conn.Runs.Ended(ctx, run)
}
