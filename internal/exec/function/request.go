package function

import (
	"io"
	"slices"
	"sync"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// request is what the program receives about an attempt.
func request(t *exec.Task) call.Request {
	job, f := t.Job, t.Job.Func
	req := call.Request{
		Run: string(job.Run), Pipeline: job.Pipeline, Module: job.Name, Worker: t.Worker,
		Number: int(job.Attempt), Function: f.Name, Uses: f.Uses, With: f.With, Params: f.Params,
		Matrix: make(map[string]string, len(job.Matrix)), Needs: Needs(t.Needs), Dir: t.Dir, Secrets: t.Secrets,
	}
	if t.Files != nil {
		req.Files, req.Opens = t.Files, opens(job)
	}
	for _, v := range t.Variables {
		if req.Env == nil {
			req.Env = map[string]string{}
		}
		req.Env[v.Key] = v.Value
	}
	if job.Keyed {
		req.Fence = t.Fencing
	}
	for _, p := range job.Matrix {
		req.Matrix[p.Axis] = p.Value
	}
	return req
}

// opens are the artifacts that the function may open.
func opens(job *jobs.Job) (names []call.Opened) {
	if job.Files == nil {
		return nil
	}
	for _, r := range job.Files.Restore {
		if o := (call.Opened{Module: r.Need, Name: r.Name}); r.Open && !slices.Contains(names, o) { // of a family there are several
			names = append(names, o)
		}
	}
	return names
}

// Needs is how needs ended, as a program receives it. Outputs that cannot be
// decoded are empty: they were checked when they arrived.
func Needs(ended map[string]jobs.Need) map[string]call.Need {
	needs := make(map[string]call.Need, len(ended))
	for name, n := range ended {
		need := call.Need{Status: string(n.Status), Reason: n.Reason}
		if need.Typed = n.Outputs.Kind == jobs.ResultValue; need.Typed {
			need.Result = n.Outputs.Inline
		} else {
			need.Outputs, _ = n.Outputs.Outputs()
		}
		for _, m := range n.Members {
			member := call.Member{Status: string(m.Status)}
			if m.Outputs.Kind == jobs.ResultValue {
				member.Result = m.Outputs.Inline
			}
			need.Members = append(need.Members, member)
		}
		needs[name] = need
	}
	return needs
}

// prepared is the job of a command with the values that its program has read.
func prepared(job *jobs.Job, res call.Response) *jobs.Job {
	with, command := *job, *job.Command
	command.Env = slices.Clone(command.Env)
	for name, value := range res.Env {
		command.Env = append(command.Env, pipeline.KeyValue{Key: name, Value: value})
	}
	if res.Stdin != nil {
		command.Stdin = string(res.Stdin)
	}
	with.Command, with.Func = &command, nil
	return &with
}

// logWriter passes the log of a function to the output of the attempt. An
// abandoned function cannot write.
type logWriter struct {
	mu     sync.Mutex
	out    exec.Sink
	closed bool
}

func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, io.ErrClosedPipe
	}
	w.out.Write(jobs.Stdout, p)
	return len(p), nil
}

func (w *logWriter) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
}
