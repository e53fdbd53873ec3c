package orchestrator

import (
	"context"
	"fmt"
	"slices"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/schedule"
)

// withScope calls f, on the loop's goroutine, with what the module's
// expressions may read: at once when nothing has to be fetched (it reports
// so), else when the outputs that are kept by reference have been.
func (l *loop) withScope(ctx context.Context, needs map[string]jobs.Need, reads []string, f func(pipeline.Scope, error)) bool {
	if !slices.ContainsFunc(reads, func(name string) bool { return byReference(needs[name]) }) {
		s, err := l.scope(ctx, needs, nil)
		f(s, err)
		return true
	}
	l.tasks.add(func() {
		s, err := l.scope(ctx, needs, reads)
		l.answer(ctx, func() { f(s, err) })
	})
	return false
}

func byReference(n jobs.Need) bool {
	return n.Outputs.Blob.SHA256 != "" || slices.ContainsFunc(n.Members, func(m jobs.Member) bool { return m.Outputs.Blob.SHA256 != "" })
}

// scope is needs as expressions see them; outputs kept by reference are
// fetched for those in reads only.
func (l *loop) scope(ctx context.Context, needs map[string]jobs.Need, reads []string) (pipeline.Scope, error) {
	s := pipeline.Scope{Needs: make(map[string]pipeline.NeedView, len(needs))}
	for name, n := range needs {
		fetch := slices.Contains(reads, name)
		v := pipeline.NeedView{Status: string(n.Status), Reason: n.Reason}
		var err error
		if n.Outputs.Typed {
			if v.Result, err = l.result(ctx, n.Outputs, fetch); err != nil {
				return s, fmt.Errorf("fetch the result of %s: %w", name, err)
			}
		} else if v.Outputs, err = l.outputs(ctx, n.Outputs, fetch); err != nil {
			return s, fmt.Errorf("fetch the outputs of %s: %w", name, err)
		}
		for _, m := range n.Members {
			view := pipeline.MemberView{Matrix: m.Matrix, Status: string(m.Status)}
			if view.Outputs, err = l.outputs(ctx, m.Outputs, fetch); err != nil {
				return s, fmt.Errorf("fetch the outputs of %s: %w", name, err)
			}
			v.Members = append(v.Members, view)
		}
		s.Needs[name] = v
	}
	return s, nil
}

func (l *loop) outputs(ctx context.Context, o jobs.Outputs, fetch bool) (map[string]string, error) {
	if o.Blob.SHA256 == "" || !fetch || o.Typed {
		return o.Values, nil
	}
	return l.broker.Values.Outputs(ctx, o)
}

// result is what a Go function has returned, for those that read it.
func (l *loop) result(ctx context.Context, o jobs.Outputs, fetch bool) (any, error) {
	if o.Blob.SHA256 != "" && !fetch {
		return nil, nil
	}
	data, err := l.broker.Values.Result(ctx, o)
	if err != nil {
		return nil, err
	}
	return jobs.DecodeResult(data)
}

// job is the message that asks for an attempt.
func (l *loop) job(a schedule.Publish, m *pipeline.Module, s pipeline.Scope) (*jobs.Job, error) {
	spec := l.state.Spec()
	job := &jobs.Job{
		Run: l.run, Pipeline: spec.Pipeline.Name, Module: a.ID.Module, Name: m.Name, Attempt: a.ID.Attempt,
		Lane: a.Lane, Slots: a.Slots, Keyed: a.Keyed, ClaimFirst: a.ClaimFirst, Fence: a.Fence, Epoch: a.Epoch, MaybeDuplicate: a.Again,
		Matrix: m.Matrix, Timeout: m.Policy.Timeout, DefaultTimeout: m.Policy.TimeoutByDefault, Grace: m.Policy.Grace,
		Needs: l.state.Told(a.Node), Trace: spec.Trace, Rank: a.Rank,
	}
	if m.Func != nil {
		if err := l.function(job, m, s); err != nil {
			return nil, err
		}
	}
	if m.Command == nil && m.Func != nil {
		return job, nil
	}
	command, err := spec.Pipeline.ResolveCommand(m, s)
	if err != nil {
		return nil, err
	}
	for _, w := range command.Warnings {
		l.cfg.Logger.Warn(w, "module", m.Name)
	}
	job.Warnings = command.Warnings
	job.Command = &jobs.CommandJob{
		Run: command.Run, Shell: command.Shell, Args: command.Args, Dir: command.Dir,
		Env: slices.Concat(command.Env, spec.Env, command.ModuleEnv), PassEnv: command.PassEnv, Stdin: command.Stdin,
	}
	return job, nil
}

// function adds the Go function.
func (l *loop) function(job *jobs.Job, m *pipeline.Module, s pipeline.Scope) error {
	p := l.state.Spec().Pipeline
	with, err := p.ResolveWith(m, s)
	if err != nil {
		return err
	}
	job.Func = &jobs.FuncJob{Name: m.Func.Name, Uses: m.Func.Uses, With: with, Params: p.Params}
	return nil
}
