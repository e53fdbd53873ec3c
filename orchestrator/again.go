package orchestrator

import (
	"context"
	"errors"
	"fmt"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
)

// Why a run is not done again.
var (
	ErrRunning = errors.New("the run has not ended")
	ErrNothing = errors.New("everything has succeeded")
)

// Again makes the specification of a run that does an ended one again, and
// keeps what of it has succeeded; its id is for the caller to choose.
// broker.ErrNotFound, ErrRunning, ErrNothing.
func Again(ctx context.Context, c *broker.Conn, run jobs.RunID) (*jobs.Spec, error) {
	state, err := load(ctx, c, run)
	if err != nil {
		return nil, err
	}
	end := state.Ended()
	switch {
	case end == nil:
		return nil, fmt.Errorf("run %s: %w", run, ErrRunning)
	case end.Status == jobs.RunSucceeded:
		return nil, fmt.Errorf("run %s: %w", run, ErrNothing)
	}
	spec := *state.Spec()
	spec.Run, spec.RetryOf, spec.Kept = "", run, state.Kept()
	return &spec, nil
}
