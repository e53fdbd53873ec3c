package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// Submit stores the specification: from here on the run exists. ErrExists
// when its id has been used, also by a run whose log has been dropped;
// broker.ErrFull, at once, when the log of runs has no room for another. It
// notes in the specification which registry of workers there is.
func (c *Client) Submit(ctx context.Context, spec *jobs.Spec) error {
	// An end is removed only long after its run, so what is seen here holds for
	// the write below.
	if ended, err := c.conn.Runs.Ended(ctx, spec.Run); err != nil {
		return fmt.Errorf("look for run %s: %w", spec.Run, err)
	} else if ended {
		return fmt.Errorf("run %s: %w", spec.Run, ErrExists)
	}
	if err := c.want(ctx, spec); err != nil {
		return err
	}
	var err error
	if spec.Registry, err = kv.RegistryMade(ctx, c.conn.Conn); err != nil {
		return fmt.Errorf("look at the registry of workers: %w", err)
	}
	_, err = c.conn.Runs.Append(ctx, spec.Run, "", 0, jobs.Record{Spec: spec})
	if errors.Is(err, broker.ErrConflict) {
		return fmt.Errorf("run %s: %w", spec.Run, ErrExists)
	}
	return err
}

// want keeps the large results that a run takes over from the one it repeats
// from being swept before the run is there, which refers to them.
func (c *Client) want(ctx context.Context, spec *jobs.Spec) error {
	for _, k := range spec.Kept {
		if !k.Outputs.ByRef() {
			continue
		}
		if err := c.conn.Values.Renew(ctx, k.Outputs.Ref); err != nil {
			return fmt.Errorf("keep the result of %s, of run %s: %w", k.Module, spec.RetryOf, err)
		}
	}
	return nil
}
