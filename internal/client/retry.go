package client

import (
	"context"
	"fmt"
	"slices"

	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// Redo selects the modules of a run that run again.
type Redo struct {
	Modules []string // these and the modules after them; empty = all that have not succeeded
	Start   bool     // all modules run again, and no results are kept
	// Bind builds the pipeline with other parameters; nil = the pipeline of the
	// run. Set it only together with Start.
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

// Retry returns the specification of a run that repeats an ended one. It keeps
// the results of the modules that do not run again. The caller chooses the id.
// The error is broker.ErrNotFound when there is no such run, ErrRunning when the
// run has not ended, ErrNothing when every module has succeeded and redo selects
// none, an UnknownModuleError, or the error of redo.Bind.
func (c *Client) Retry(ctx context.Context, run jobs.RunID, redo Redo) (*jobs.Spec, error) {
	state, err := runlog.Load(ctx, c.conn.Runs, run)
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
	if err := c.expire(ctx, state); err != nil {
		return nil, err
	}
	spec := *state.Spec()
	spec.Run, spec.RetryOf = "", run
	unknown := ""
	if spec.Pipeline, spec.Kept, unknown = state.Redo(redo.Modules, redo.Start); unknown != "" {
		return nil, &UnknownModuleError{Run: run, Module: unknown, Known: moduleNames(state.Spec().Pipeline)}
	}
	if spec.Origin != nil && len(redo.Modules) > 0 {
		origin := *spec.Origin
		origin.Narrowed, spec.Origin = true, &origin
	}
	return &spec, nil
}

// expire marks the modules whose artifacts are not stored any more. The error is
// ErrExpired when the snapshot of the run is not.
func (c *Client) expire(ctx context.Context, state *schedule.Run) error {
	spec := state.Spec()
	var trees []jobs.Tree
	if w := spec.Workspace; w != nil {
		trees = append(trees, w.Tree)
		if w.Git != nil {
			trees = append(trees, *w.Git)
		}
	}
	snapshot := len(trees)
	for _, left := range state.Artifacts() {
		for _, a := range left {
			trees = append(trees, a.Tree)
		}
	}
	stored, err := c.stored(ctx, trees)
	if err != nil {
		return err
	}
	for _, t := range trees[:snapshot] {
		if !stored[t.Manifest] {
			return fmt.Errorf("run %s: %w", spec.Run, ErrExpired)
		}
	}
	for m, left := range state.Artifacts() {
		if slices.ContainsFunc(left, func(a jobs.Artifact) bool { return !stored[a.Tree.Manifest] }) {
			state.Expire(m.Name)
		}
	}
	return nil
}

// rebound returns a run that has not begun, with the pipeline that Bind builds.
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
