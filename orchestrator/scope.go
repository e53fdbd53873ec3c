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
		v := pipeline.NeedView{Status: n.Status, Reason: n.Reason}
		var err error
		if v.Outputs, err = l.outputs(ctx, n.Outputs, fetch); err != nil {
			return s, fmt.Errorf("fetch the outputs of %s: %w", name, err)
		}
		for _, m := range n.Members {
			view := pipeline.MemberView{Matrix: m.Matrix, Status: m.Status}
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
	if o.Blob.SHA256 == "" || !fetch {
		return o.Values, nil
	}
	return l.broker.Outputs(ctx, o)
}

// job is the message that asks for an attempt.
func (l *loop) job(a schedule.Publish, m *pipeline.Module, needs map[string]jobs.Need, s pipeline.Scope) (*jobs.Job, error) {
	spec := l.state.Spec()
	command, err := spec.Pipeline.ResolveCommand(m, s)
	if err != nil {
		return nil, err
	}
	for _, w := range command.Warnings {
		l.cfg.Logger.Warn(w, "module", m.Name)
	}
	env := slices.Concat(command.Env, spec.Env, command.ModuleEnv)
	return &jobs.Job{
		Run: l.run, Pipeline: spec.Pipeline.Name, Token: a.Key.Token, Name: m.Name, Attempt: a.Key.Attempt,
		Lane: a.Lane, Slots: a.Slots, Keyed: a.Keyed, Fence: a.Fence, Epoch: a.Epoch, Again: a.Again,
		Matrix: m.Matrix, Timeout: m.Policy.Timeout, DefaultTimeout: m.Policy.TimeoutByDefault, Grace: m.Policy.Grace,
		Needs: needs, Trace: spec.Trace, Warnings: command.Warnings,
		Command: &jobs.CommandJob{
			Run: command.Run, Shell: command.Shell, Args: command.Args, Dir: command.Dir,
			Env: env, PassEnv: command.PassEnv, Stdin: command.Stdin,
		},
	}, nil
}
