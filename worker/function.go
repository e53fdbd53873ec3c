package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// Functions are the Go functions of the program that a worker is part of.
type Functions interface {
	// Identity says which program it is; lanes require it.
	Identity() (pipeline.Program, error)
	// Call runs one attempt, and returns soon when ctx ends.
	Call(ctx context.Context, req call.Request) call.Response
}

// killWait is how long a call may take to return after it was killed: a
// process of its own has ended by then.
const killWait = 500 * time.Millisecond

// function is the Go function of one attempt, or what prepares its command.
type function struct {
	functions Functions
	command   *command
	request   call.Request
}

// run calls the function and returns when it has returned, or is given up.
func (f *function) run(ctx context.Context, stops *attempt.Stops, out sink) ending {
	if f.functions == nil {
		return notStarted(fmt.Errorf("the job is for a Go program, and worker %s has no Go functions", f.command.worker))
	}
	if st, ok := stops.Asked(); ok {
		return stoppedBefore(st)
	}
	if f.command.ready != nil && !f.command.ready() {
		return ending{status: report.AttemptLost, text: lapsedBefore(f.command.worker), finished: time.Now()}
	}
	started := time.Now()
	res, stopped, returned := f.call(ctx, stops, out)
	e := ending{started: started, finished: res.at}
	switch {
	case !returned:
		e.status = stopped.Status
		e.text = fmt.Sprintf("%s; the function does not respect its context: it has not returned within %v, is abandoned, and may still be running", stopped.Text, short(stopped.Grace))
	case stopped != nil:
		e.status, e.text = stopped.Status, stopped.Text
	case res.Prepared && res.Error == "":
		f.command.job = prepared(f.command.job, res.Response)
		return f.command.run(ctx, stops, out)
	default:
		f.judge(&e, res.Response)
	}
	return e
}

// judge makes an ending of what a function has returned.
func (f *function) judge(e *ending, res call.Response) {
	e.permanent, e.ignorable, e.retryAfter = res.Permanent, res.Ignorable, res.RetryAfter
	switch {
	case res.Skipped:
		e.status, e.reason = report.AttemptSkipped, res.Reason
		if !res.Began {
			e.started = time.Time{} // the condition has decided: no attempt was used up
		}
	case res.Error != "":
		e.status, e.text = report.AttemptFailed, res.Error
	default:
		e.status, e.typed, e.result = report.AttemptSucceeded, true, res.Result
	}
}

// returned is what a function has returned, and when.
type returned struct {
	call.Response
	at time.Time
}

// call runs the function beside what may stop it. ok is false when it was
// given up, with stopped as the reason.
func (f *function) call(ctx context.Context, stops *attempt.Stops, out sink) (res returned, stopped *attempt.Stop, ok bool) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	abandoned := make(chan struct{})
	defer close(abandoned)
	log := &logWriter{out: out}
	defer log.close()
	f.request.Log, f.request.Abandoned = log, abandoned
	over := make(chan returned, 1) // so that an abandoned function can end
	w := newStopwatch(time.Now())
	go func() { // a function cannot be ended: an abandoned one runs on
		res := call.Response{Began: true, Error: "the function has ended its goroutine, by runtime.Goexit or as a test fails", Permanent: true}
		defer func() { over <- returned{res, time.Now()} }()
		res = f.functions.Call(ctx, f.request)
	}()
	return f.supervise(stops, cancel, over, w)
}

// supervise returns when the function has returned or is given up. A function
// that has returned by itself has timed out if it ran longer than its timeout,
// whenever that is noticed: this process may have been stopped in between.
func (f *function) supervise(stops *attempt.Stops, cancel context.CancelCauseFunc, over <-chan returned, w *stopwatch) (res returned, stopped *attempt.Stop, ok bool) {
	timeout := f.command.job.Timeout
	limit, stopTimer := timer(timeout)
	defer stopTimer()
	var look, giveUp <-chan time.Time
	if timeout > 0 {
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		look = ticker.C
	}
	for {
		select {
		case res = <-over:
			return res, f.endedBy(stops, stopped, w.ran(res.at)), true
		case <-look:
			w.ran(time.Now())
		case <-limit:
			select {
			case res = <-over:
				return res, f.endedBy(stops, stopped, w.ran(res.at)), true
			default:
			}
			more := timeout - w.ran(time.Now())
			if more <= 0 {
				stops.Ask(f.command.timedOut())
			}
			limit = after(more)
		case <-stops.Changed():
			st, _ := stops.Asked()
			cancel(errors.New(st.Text))
			if stopped == nil || st.Grace == 0 {
				giveUp = time.After(max(st.Grace, killWait))
			}
			stopped = &st
		case <-giveUp:
			return returned{at: time.Now()}, stopped, false
		}
	}
}

// endedBy is why a function that ran for so long has not ended by itself; nil
// when it has.
func (f *function) endedBy(stops *attempt.Stops, stopped *attempt.Stop, ran time.Duration) *attempt.Stop {
	if stopped != nil {
		return stopped
	}
	if limit := f.command.job.Timeout; limit > 0 && ran > limit {
		stops.Ask(f.command.timedOut())
	}
	if st, ok := stops.Asked(); ok {
		return &st
	}
	return nil
}

// after fires when d has passed, and never when nothing is left of d.
func after(d time.Duration) <-chan time.Time {
	if d <= 0 {
		return nil
	}
	return time.After(d)
}

// prepared is the job of a command with the values that its program has read.
func prepared(job *jobs.Job, res call.Response) *jobs.Job {
	with, command := *job, *job.Command
	command.Env = slices.Clone(command.Env)
	for name, value := range res.Env {
		command.Env = append(command.Env, pipeline.Pair{Axis: name, Value: value})
	}
	if res.Stdin != nil {
		command.Stdin = string(res.Stdin)
	}
	with.Command, with.Func = &command, nil
	return &with
}

// logWriter makes output of the attempt of what a function logs. A function
// that was abandoned cannot write.
type logWriter struct {
	mu     sync.Mutex
	out    sink
	closed bool
}

func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, io.ErrClosedPipe
	}
	w.out.write(jobs.Stdout, slices.Clone(p))
	return len(p), nil
}

func (w *logWriter) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
}

// request is what the function of an attempt is told.
func (a *task) request(needs map[string]jobs.Need) call.Request {
	f := a.job.Func
	req := call.Request{
		Run: string(a.job.Run), Pipeline: a.job.Pipeline, Module: a.job.Name, Worker: a.s.cfg.Name,
		Number: int(a.job.Attempt), Function: f.Name, Uses: f.Uses, With: f.With, Params: f.Params,
		Matrix: make(map[string]string, len(a.job.Matrix)), Needs: make(map[string]call.Need, len(needs)),
	}
	if a.job.Keyed {
		req.Fence = a.Token()
	}
	for _, p := range a.job.Matrix {
		req.Matrix[p.Axis] = p.Value
	}
	for name, n := range needs {
		need := call.Need{Status: string(n.Status), Reason: n.Reason, Outputs: n.Outputs.Values, Typed: n.Outputs.Typed, Result: n.Outputs.Result}
		for _, m := range n.Members {
			need.Members = append(need.Members, call.Member{Status: string(m.Status), Result: m.Outputs.Result})
		}
		req.Needs[name] = need
	}
	return req
}

// results are the needs of the job with the results that are kept by
// reference.
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

// fetched is an output in hand. A request to end the attempt ends the
// wait for it.
func (a *task) fetched(ctx context.Context, o jobs.Outputs) (jobs.Outputs, error) {
	if o.Blob.SHA256 == "" {
		return o, nil
	}
	ctx, stop := a.Stops().Within(ctx)
	defer stop()
	err := persist(ctx, func(ctx context.Context) (err error) {
		if o.Typed {
			o.Result, err = a.s.conn.Result(ctx, o)
		} else {
			o.Values, err = a.s.conn.Outputs(ctx, o)
		}
		if errors.Is(err, jobs.ErrMalformed) || errors.Is(err, jobs.ErrNewer) {
			err = answer{err, attempt.ErrNotFound} // it stays so
		}
		return err
	})
	o.Blob = jobs.Blob{}
	return o, err
}
