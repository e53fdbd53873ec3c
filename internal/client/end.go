package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/report"
)

const (
	// killPatience is how long End waits for workers to kill the attempts of
	// the run.
	killPatience = 10 * time.Second
	// killInterval is the time between two requests to kill.
	killInterval = 500 * time.Millisecond
)

// End ends a run by force, even one whose log cannot be read. It asks workers
// to kill the attempts of the run, records the end as failed with the reason
// why, and removes the jobs of the run from the queue. It returns
// broker.ErrNotFound when there is no such run, and ErrEnded when the run has
// ended. It returns ErrDecided when an orchestrator decides for the run, unless
// that orchestrator has set the run aside.
func (c *Client) End(ctx context.Context, run jobs.RunID, why string) error {
	if exists, err := c.conn.Runs.Exists(ctx, run); err != nil || !exists {
		return errors.Join(err, missingError(run, exists))
	}
	if ended, err := c.conn.Runs.Ended(ctx, run); err != nil || ended {
		return errors.Join(err, endedError(run, ended))
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
		return endedError(run, true)
	case err != nil:
		return err
	}
	return c.conn.Queue.PurgeRun(ctx, run)
}

func missingError(run jobs.RunID, exists bool) error {
	if exists {
		return nil
	}
	return fmt.Errorf("run %s: %w", run, broker.ErrNotFound)
}

func endedError(run jobs.RunID, ended bool) error {
	if !ended {
		return nil
	}
	return fmt.Errorf("run %s: %w", run, ErrEnded)
}

// kill asks workers to kill the attempts of a run. It repeats the request until
// no worker lists an attempt of the run. It gives up after killPatience,
// because a worker that does not answer may be gone. Without the signing key of the
// run it asks nothing, since no worker would believe it.
func (c *Client) kill(ctx context.Context, run jobs.RunID, why string) error {
	first, err := c.conn.Runs.FirstTakeover(ctx, run)
	if errors.Is(err, broker.ErrNotFound) || runlog.Unreadable(err) {
		return nil // no worker has a job of it that could be killed
	}
	if err != nil {
		return err
	}
	key := c.conn.Keys().RunKey(first.Key, run)
	for limit := time.Now().Add(killPatience); first.Key == "" || key != nil; {
		running, err := c.runningOf(ctx, run)
		if err != nil || len(running) == 0 || time.Now().After(limit) {
			return err
		}
		for _, r := range running {
			cancel := &jobs.CancelAttempt{Run: run, Module: r.entry.Module, Attempt: r.entry.Attempt, Kill: true, Reason: why}
			if err := c.conn.Control.SendWorker(r.worker, signing.AttemptKey(key, r.entry.Module, r.entry.Attempt), jobs.Control{Cancel: cancel}); err != nil {
				return err
			}
		}
		select {
		case <-time.After(killInterval):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// running is an attempt that a worker lists.
type running struct {
	worker string
	entry  jobs.RunningEntry
}

func (c *Client) runningOf(ctx context.Context, run jobs.RunID) (list []running, err error) {
	workers, err := kv.Workers(ctx, c.conn.Conn)
	for i := range workers {
		for _, r := range workers[i].Running {
			if r.Run == run {
				list = append(list, running{workers[i].Name, r})
			}
		}
	}
	return list, err
}

// endedByForce returns the report of a run whose log cannot be folded and that
// was ended by force. It returns nil when the run has no end.
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
