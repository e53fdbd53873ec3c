package function

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// Program has the functions.
type Program interface {
	// Call runs one attempt, and returns soon when ctx ends.
	Call(ctx context.Context, req call.Request) call.Response
}

// killWait is for how long a call may go on after a stop without a grace: a
// process of its own has ended by then.
const killWait = 500 * time.Millisecond

// Executor calls the functions of a program.
type Executor struct {
	Program Program // nil = this worker has none
}

// Start calls the function of a task.
func (x Executor) Start(ctx context.Context, t *exec.Task, out exec.Sink) (exec.Handle, error) {
	if x.Program == nil {
		return nil, fmt.Errorf("the job is for a Go program, and worker %s has no Go functions", t.Worker)
	}
	if err := t.MayStart(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	h := newHandle(t, out, cancel, time.Now())
	req := request(t)
	req.Log, req.Abandoned = h.log, h.abandoned
	go func() { // an abandoned function runs on
		res := call.Response{Began: true, Error: "the function has ended its goroutine, by runtime.Goexit or as a test fails", Permanent: true}
		defer func() { h.finish(res, time.Now()) }()
		res = x.Program.Call(ctx, req)
	}()
	return h, nil
}

// handle is a function that was called. Wait owns it; the fields under mu are
// shared with Stop, Ran and the goroutine of the function.
type handle struct {
	t         *exec.Task
	cancel    context.CancelCauseFunc
	log       *logWriter
	started   time.Time
	abandoned chan struct{}      // closed when Wait has returned
	over      chan call.Response // holds one, so that an abandoned function can end
	changed   chan struct{}      // holds one token after a Stop

	mu      sync.Mutex
	clock   *exec.Stopwatch
	ended   time.Time // when the function returned; zero while it runs
	ran     time.Duration
	first   time.Time     // when its end was first requested
	grace   time.Duration // of the request
	giveUp  time.Time     // when it is abandoned
	stopped bool
}

func newHandle(t *exec.Task, out exec.Sink, cancel context.CancelCauseFunc, now time.Time) *handle {
	return &handle{
		t: t, cancel: cancel, log: &logWriter{out: out}, started: now, clock: exec.NewStopwatch(now),
		abandoned: make(chan struct{}), over: make(chan call.Response, 1), changed: make(chan struct{}, 1),
	}
}

// finish notes what the function has returned, and when: this process may be
// suspended before Wait notices it.
func (h *handle) finish(res call.Response, now time.Time) {
	h.mu.Lock()
	h.ended, h.ran = now, h.clock.Ran(now)
	h.mu.Unlock()
	h.over <- res
}

// Stop cancels the context of the function. Wait abandons it when the grace, and
// at least killWait, is over.
func (h *handle) Stop(s exec.Stop) {
	h.cancel(errors.New(s.Text))
	now := time.Now()
	giveUp := now.Add(max(s.Grace, killWait))
	h.mu.Lock()
	if !h.stopped {
		h.stopped, h.first, h.grace, h.giveUp = true, now, s.Grace, giveUp
	} else if now.Before(h.first.Add(h.grace)) { // sooner than it was first requested
		h.grace = s.Grace
	}
	if giveUp.Before(h.giveUp) {
		h.giveUp = giveUp
	}
	h.mu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// Ran leaves out the time in which this process was suspended.
func (h *handle) Ran() (d time.Duration, ended bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended.IsZero() {
		return h.ran, true
	}
	return h.clock.Ran(time.Now()), false
}

// Wait returns when the function has returned, or is abandoned.
func (h *handle) Wait() exec.Result {
	defer h.cancel(nil)
	defer close(h.abandoned)
	defer h.log.close()
	var read, giveUp <-chan time.Time
	if h.t.Job.Timeout > 0 {
		clock := time.NewTicker(exec.ClockInterval)
		defer clock.Stop()
		read = clock.C
	}
	for {
		select {
		case res := <-h.over:
			return h.result(res)
		case <-read:
			h.Ran() // so that a suspension is noticed
		case <-h.changed:
			giveUp = time.After(h.patience())
		case <-giveUp:
			return h.abandon()
		}
	}
}

func (h *handle) patience() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Until(h.giveUp)
}

func (h *handle) abandon() exec.Result {
	h.mu.Lock()
	grace := h.grace
	h.mu.Unlock()
	return exec.Result{
		Started: h.started, Finished: time.Now(),
		Abandoned: fmt.Sprintf("; the function does not respect its context: it has not returned within %v, is abandoned, and may still be running", jobs.ShortDuration(grace)),
	}
}

// result is what the function has returned.
func (h *handle) result(res call.Response) exec.Result {
	h.mu.Lock()
	r := exec.Result{Started: h.started, Finished: h.ended}
	h.mu.Unlock()
	if res.Prepared && res.Error == "" {
		r.Prepared = prepared(h.t.Job, res)
		return r
	}
	r.Permanent, r.Ignorable, r.RetryAfter = res.Permanent, res.Ignorable, res.RetryAfter
	switch {
	case res.Skipped:
		r.Status, r.Reason = report.AttemptSkipped, res.Reason
		if !res.Began {
			r.Started = time.Time{} // its condition decided: no attempt was used up
		}
	case res.Error != "":
		r.Status, r.Error = report.AttemptFailed, res.Error
	default:
		r.Status, r.Typed, r.Value = report.AttemptSucceeded, true, res.Result
	}
	return r
}
