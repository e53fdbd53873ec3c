package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/report"
)

const (
	// killPatience is how long End waits for workers to kill what they run.
	killPatience = 10 * time.Second
	killAgain    = 500 * time.Millisecond
)

// End ends a run by force, whatever its log holds: workers kill what they run
// of it, its end is recorded as failed, and its jobs leave the queue.
// broker.ErrNotFound, ErrEnded, and ErrDecided unless the orchestrator that
// holds the run has set it aside.
func (c *Client) End(ctx context.Context, run jobs.RunID, why string) error {
	if there, err := c.conn.Runs.Exists(ctx, run); err != nil || !there {
		return errors.Join(err, missing(run, there))
	}
	if ended, err := c.conn.Runs.Ended(ctx, run); err != nil || ended {
		return errors.Join(err, over(run, ended))
	}
	holders, err := kv.Holders(ctx, c.conn.Conn)
	if err != nil {
		return err
	}
	if lease, held := holders[string(run)]; held && lease.Problem == "" {
		return fmt.Errorf("run %s: %w: %s", run, ErrDecided, lease.Holder)
	}
	if err := c.kill(ctx, run, why); err != nil {
		return err
	}
	_, err = c.conn.Runs.Append(ctx, run, "", 0, jobs.Record{End: &jobs.End{Status: report.RunFailed, Error: why, Forced: true}})
	switch {
	case errors.Is(err, broker.ErrConflict):
		return over(run, true)
	case err != nil:
		return err
	}
	return c.conn.Queue.PurgeRun(ctx, run)
}

func missing(run jobs.RunID, there bool) error {
	if there {
		return nil
	}
	return fmt.Errorf("run %s: %w", run, broker.ErrNotFound)
}

func over(run jobs.RunID, ended bool) error {
	if !ended {
		return nil
	}
	return fmt.Errorf("run %s: %w", run, ErrEnded)
}

// kill asks workers to kill what they run of a run, until none runs anything
// or killPatience has passed: a worker that does not answer may be gone.
func (c *Client) kill(ctx context.Context, run jobs.RunID, why string) error {
	for limit := time.Now().Add(killPatience); ; {
		running, err := c.runningOf(ctx, run)
		if err != nil || len(running) == 0 || time.Now().After(limit) {
			return err
		}
		for _, r := range running {
			cancel := &jobs.CancelAttempt{Module: r.Module, Attempt: r.Attempt, Kill: true, Reason: why}
			if err := c.conn.Control.SendRun(run, jobs.Control{Cancel: cancel}); err != nil {
				return err
			}
		}
		select {
		case <-time.After(killAgain):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (c *Client) runningOf(ctx context.Context, run jobs.RunID) (running []jobs.RunningEntry, err error) {
	workers, err := kv.Workers(ctx, c.conn.Conn)
	for i := range workers {
		for _, r := range workers[i].Running {
			if r.Run == run {
				running = append(running, r)
			}
		}
	}
	return running, err
}

// endedByForce is the report of a run whose log cannot be folded, when it was
// ended all the same; nil when it was not.
func (c *Client) endedByForce(ctx context.Context, run jobs.RunID) *report.Report {
	last, err := c.conn.Runs.LastEnd(ctx, run)
	end := last.Record.End
	if err != nil || end == nil {
		return nil
	}
	finished := last.Time
	return &report.Report{
		Version: 1, Run: string(run), Status: end.Status, Error: end.Error, Finished: &finished,
		Params: map[string]any{}, Labels: map[string]string{}, Workers: []string{}, Modules: []report.Module{},
	}
}
