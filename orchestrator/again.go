package orchestrator

import (
	"context"
	"errors"
	"fmt"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// Why a run is not done again.
var (
	ErrRunning = errors.New("the run has not ended")
	ErrNothing = errors.New("everything has succeeded")
)

// Redo says what of a run is done again.
type Redo struct {
	Modules []string // these and what follows them; none = all that has not succeeded
	Start   bool     // nothing is kept
	// Bind makes the pipeline anew, with other parameters; nil = it stays as it
	// is. It is for Start.
	Bind func(old *jobs.Spec) (*pipeline.Pipeline, *jobs.Origin, error)
}

// UnknownModuleError names a module that a run does not have.
type UnknownModuleError struct {
	Run    jobs.RunID
	Module string
	Known  []string
}

func (e *UnknownModuleError) Error() string {
	return fmt.Sprintf("run %s has no module %q", e.Run, e.Module)
}

// Again makes the specification of a run that does an ended one again, and
// keeps what of it has succeeded and is not to be done again; its id is for
// the caller to choose. broker.ErrNotFound, ErrRunning, ErrNothing, an
// UnknownModuleError, and those of redo.Bind.
func Again(ctx context.Context, c *broker.Conn, run jobs.RunID, redo Redo) (*jobs.Spec, error) {
	state, err := load(ctx, c, run)
	if err != nil {
		return nil, err
	}
	end := state.Ended()
	switch {
	case end == nil:
		return nil, fmt.Errorf("run %s: %w", run, ErrRunning)
	case end.Status == report.RunSucceeded && len(redo.Modules) == 0 && !redo.Start:
		return nil, fmt.Errorf("run %s: %w", run, ErrNothing)
	}
	if redo.Bind != nil {
		if state, err = rebound(state.Spec(), redo); err != nil {
			return nil, err
		}
	}
	spec := *state.Spec()
	spec.Run, spec.RetryOf = "", run
	unknown := ""
	if spec.Pipeline, spec.Kept, unknown = state.Again(redo.Modules, redo.Start); unknown != "" {
		return nil, &UnknownModuleError{Run: run, Module: unknown, Known: moduleNames(state.Spec().Pipeline)}
	}
	if spec.Origin != nil && len(redo.Modules) > 0 {
		origin := *spec.Origin
		origin.Narrowed, spec.Origin = true, &origin
	}
	return &spec, nil
}

// rebound is a run as it begins with the pipeline that Bind makes.
func rebound(old *jobs.Spec, redo Redo) (*schedule.Run, error) {
	spec := *old
	spec.Kept = nil
	var err error
	if spec.Pipeline, spec.Origin, err = redo.Bind(old); err != nil {
		return nil, err
	}
	return schedule.Load([]jobs.Entry{{Record: jobs.Record{Spec: &spec}}}, nil)
}

func moduleNames(p *pipeline.Pipeline) (names []string) {
	for _, m := range p.Modules {
		names = append(names, m.Name)
	}
	return names
}
