package worker

import (
	"context"
	"errors"
	"slices"

	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/internal/exec/function"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
)

// executor chooses the executor of a job. A further executor is chosen here.
func (s *shift) executor(job *jobs.Job) exec.Executor {
	if job.Func != nil {
		return s.functions
	}
	return s.commands
}

// start executes the job of the attempt to its end. A function may prepare a
// command, which is executed then.
func (a *task) start(ctx context.Context, needs map[string]jobs.Need, out exec.Sink) exec.Result {
	return a.withFiles(ctx, func(dir string, found workspace.Found) exec.Result {
		if dir == "" && a.job.Func != nil { // it finds the directory that a command would run in
			dir = a.s.cfg.Workspace
		}
		t := &exec.Task{
			Job: a.job, Needs: needs, Worker: a.s.cfg.Name, Fencing: a.Token(), Dir: dir, Variables: found.Variables, Secrets: a.secrets, Mask: a.mask, Spent: a.waited,
			Stops: stops{a.Stops()}, Leased: a.MayStart,
		}
		if found.Artifacts != nil {
			t.Files = found.Artifacts
		}
		r := exec.Run(ctx, a.s.executor(t.Job), t, out)
		if r.Prepared != nil {
			t.Job = r.Prepared
			r = exec.Run(ctx, a.s.executor(t.Job), t, out)
		}
		return r
	})
}

// functionsOf returns the executor of the program's functions.
func functionsOf(f call.Program) function.Executor {
	if f == nil {
		return function.Executor{}
	}
	return function.Executor{Program: f}
}

// stops adapts the requests to end a delivery to package exec.
type stops struct{ *attempt.Stops }

func (s stops) Asked() (exec.Stop, bool) {
	st, ok := s.Stops.Asked()
	return exec.Stop{Status: st.Status, Text: st.Text, Grace: st.Grace}, ok
}

func (s stops) Ask(st exec.Stop) {
	s.Stops.Ask(attempt.Stop{Status: st.Status, Text: st.Text, Grace: st.Grace})
}

// results returns the needs of the job with their values, which it fetches where the
// job only refers to them.
func (a *task) results(ctx context.Context) (map[string]jobs.Need, error) {
	needs := make(map[string]jobs.Need, len(a.job.Needs))
	for name, n := range a.job.Needs {
		var err error
		if n.Outputs, err = a.fetched(ctx, n.Outputs); err != nil {
			return nil, err
		}
		n.Members = slices.Clone(n.Members)
		for i := range n.Members {
			if n.Members[i].Outputs, err = a.fetched(ctx, n.Members[i].Outputs); err != nil {
				return nil, err
			}
		}
		needs[name] = n
	}
	return needs, nil
}

// fetched returns a value inline. A request to end the attempt ends the
// wait for it.
func (a *task) fetched(ctx context.Context, v jobs.Value) (jobs.Value, error) {
	if !v.ByRef() {
		return v, nil
	}
	ctx, stop := a.Stops().Within(ctx)
	defer stop()
	err := persist(ctx, func(ctx context.Context) error {
		loaded, err := a.s.conn.Values.Load(ctx, v)
		if err == nil {
			v = loaded
		}
		if errors.Is(err, jobs.ErrMalformed) || errors.Is(err, jobs.ErrNewer) {
			err = answer{err, attempt.ErrNotFound} // another try would return the same
		}
		return err
	})
	return v, err
}
