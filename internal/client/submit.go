package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// Submit stores the specification. From then on the run exists. Submit sets
// spec.Registry to the creation time of the registry of workers. It returns
// ErrExists when the id has been used, also by a run whose log was dropped. It
// returns broker.ErrFull without waiting when the log of runs has no room.
func (c *Client) Submit(ctx context.Context, spec *jobs.Spec) error {
	// A sweep removes an end only long after its run. So this answer still holds
	// at the write below.
	if ended, err := c.conn.Runs.Ended(ctx, spec.Run); err != nil {
		return fmt.Errorf("read the end of run %s: %w", spec.Run, err)
	} else if ended {
		return fmt.Errorf("run %s: %w", spec.Run, ErrExists)
	}
	if err := c.renewKept(ctx, spec); err != nil {
		return err
	}
	var err error
	if spec.Registry, err = kv.RegistryMade(ctx, c.conn.Conn); err != nil {
		return fmt.Errorf("read the registry of workers: %w", err)
	}
	_, err = c.conn.Runs.Append(ctx, spec.Run, "", 0, jobs.Record{Spec: spec})
	if errors.Is(err, broker.ErrConflict) {
		return fmt.Errorf("run %s: %w", spec.Run, ErrExists)
	}
	return err
}

// renewKept renews the large results that a retry keeps from its earlier run.
// Otherwise a sweep could drop them before the specification that refers to
// them is stored.
func (c *Client) renewKept(ctx context.Context, spec *jobs.Spec) error {
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
