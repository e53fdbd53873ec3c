package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/jobs"
)

// checkKey returns a signing.MissingError when this orchestrator does not have the signing key of
// a run, as the first takeover of the run names it.
func checkKey(keys *signing.Keyring, run jobs.RunID, first *jobs.Takeover) error {
	if first.Key == "" && keys == nil || slices.Contains(keys.IDs(), first.Key) {
		return nil
	}
	return &signing.MissingError{Run: run, Key: first.Key, By: first.Orchestrator, Have: keys.IDs()}
}

// CheckKey returns a signing.MissingError when a program on this connection cannot decide for a run
// for want of its signing key. A run without an orchestrator so far gets the key of the
// first one.
func CheckKey(ctx context.Context, c *broker.Conn, run jobs.RunID) error {
	first, err := c.Runs.FirstTakeover(ctx, run)
	if errors.Is(err, broker.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the signing key of run %s: %w", run, err)
	}
	return checkKey(c.Keys(), run, first)
}

// setKey sets the key of the run: that of the run's first takeover, or, before it, the
// one that signs here.
func (t *takeover) setKey(entries []jobs.Entry) error {
	keys := t.conn.Keys()
	t.keyID = keys.ID()
	if i := slices.IndexFunc(entries, func(e jobs.Entry) bool { return e.Record.Takeover != nil }); i >= 0 {
		first := entries[i].Record.Takeover
		if err := checkKey(keys, t.run, first); err != nil {
			return err
		}
		t.keyID = first.Key
	}
	t.key = keys.RunKey(t.keyID, t.run)
	return nil
}

// attemptKey is the key of an attempt of the run; nil when the run has no keys.
func (l *loop) attemptKey(id jobs.AttemptID) signing.Key {
	return signing.AttemptKey(l.takeover.key, id.Module, id.Attempt)
}
