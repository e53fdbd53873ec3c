package orchestrator

import (
	"context"
	"errors"
	"fmt"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// Submit stores the specification: from here on the run exists. ErrExists
// when its id has been used, also by a run whose log has been dropped;
// broker.ErrFull, at once, when the log of runs has no room for another. It
// notes in the specification which registry of workers there is.
func Submit(ctx context.Context, c *broker.Conn, spec *jobs.Spec) error {
	// An end is removed only long after its run, so what is seen here holds for
	// the write below.
	if ended, err := c.Runs.Ended(ctx, spec.Run); err != nil {
		return fmt.Errorf("look for run %s: %w", spec.Run, err)
	} else if ended {
		return fmt.Errorf("run %s: %w", spec.Run, ErrExists)
	}
	if err := want(ctx, c, spec); err != nil {
		return err
	}
	var err error
	if spec.Registry, err = kv.RegistryMade(ctx, c.Conn); err != nil {
		return fmt.Errorf("look at the registry of workers: %w", err)
	}
	_, err = c.Runs.Append(ctx, spec.Run, "", 0, jobs.Record{Spec: spec})
	if errors.Is(err, broker.ErrConflict) {
		return fmt.Errorf("run %s: %w", spec.Run, ErrExists)
	}
	return err
}

// want keeps the large results that a run takes over from the one it repeats
// from being swept before the run is there, which refers to them.
func want(ctx context.Context, c *broker.Conn, spec *jobs.Spec) error {
	for _, k := range spec.Kept {
		if k.Outputs.Blob.SHA256 == "" {
			continue
		}
		if err := c.Values.Renew(ctx, k.Outputs.Blob); err != nil {
			return fmt.Errorf("keep the result of %s, of run %s: %w", k.Module, spec.RetryOf, err)
		}
	}
	return nil
}

// Cancel records a cancellation and returns when it is stored; called again,
// it is the second one, which ends always-run modules too. broker.ErrNotFound
// when there is no such run; ErrEnded when its last module has ended.
func Cancel(ctx context.Context, c *broker.Conn, run jobs.RunID, cancel jobs.Cancel) error {
	if cancel.ID == "" {
		cancel.ID = ident.New()
	}
	for {
		state, err := load(ctx, c, run)
		if err != nil {
			return err
		}
		if state.Ended() != nil || state.Live() == 0 {
			return fmt.Errorf("run %s: %w", run, ErrEnded)
		}
		_, err = c.Runs.Append(ctx, run, "", state.CancelSequence(), jobs.Record{Cancel: &cancel})
		if err == nil {
			break
		}
		if !errors.Is(err, broker.ErrConflict) {
			return err
		}
		last, err := c.Runs.LastCancel(ctx, run)
		if err != nil {
			return err
		}
		if last.Record.Cancel != nil && last.Record.Cancel.ID == cancel.ID {
			break // our own write, whose answer was lost
		}
	}
	state, err := load(ctx, c, run)
	if err != nil {
		return err
	}
	if state.TooLate(cancel.ID) {
		return fmt.Errorf("run %s: %w", run, ErrEnded)
	}
	return nil
}

// Report is the run as it stands now.
func Report(ctx context.Context, c *broker.Conn, run jobs.RunID) (*report.Report, error) {
	state, err := load(ctx, c, run)
	if Unreadable(err) {
		if r := endedByForce(ctx, c, run); r != nil {
			return r, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return reportOf(ctx, c, state)
}

func load(ctx context.Context, c *broker.Conn, run jobs.RunID) (state *schedule.Run, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(run, v)
		}
	}()
	entries, err := c.Runs.Read(ctx, run)
	if err != nil {
		return nil, fmt.Errorf("read the log of run %s: %w", run, err)
	}
	return schedule.Load(entries, nil)
}

func reportOf(ctx context.Context, c *broker.Conn, state *schedule.Run) (*report.Report, error) {
	return state.Report(func(o jobs.Outputs) (map[string]string, error) {
		values, err := c.Values.Outputs(ctx, o)
		if errors.Is(err, broker.ErrNotFound) {
			err = fmt.Errorf("%w: %w", jobs.ErrMalformed, err) // it does not come back
		}
		return values, err
	})
}
