package exec

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/report"
)

// Run executes a task to its end. Neither its output nor its result contains secrets
// of the task.
func Run(ctx context.Context, x Executor, t *Task, out Sink) Result {
	if t.Mask == nil {
		return run(ctx, x, t, out)
	}
	masked := newMaskedSink(t.Mask, out)
	r := run(ctx, x, t, masked)
	masked.close()
	return r.without(t.Mask)
}

func run(ctx context.Context, x Executor, t *Task, out Sink) Result {
	if st, ok := t.Stops.Asked(); ok {
		return t.notStarted(stoppedError{st})
	}
	h, err := x.Start(ctx, t, out)
	if err != nil {
		return t.notStarted(err)
	}
	return Supervise(t, h)
}

// StartError is an error of Start with warnings about what was prepared.
type StartError struct {
	Err      error
	Warnings []string
}

func (e *StartError) Error() string { return e.Err.Error() }

func (e *StartError) Unwrap() error { return e.Err }

// errLapsed is the error of MayStart for a task whose lease has lapsed.
var errLapsed = errors.New("the lease of the worker lapsed before the start")

// stoppedError is the error of MayStart for a task whose end was requested.
type stoppedError struct{ stop Stop }

func (e stoppedError) Error() string { return "stopped before the start: " + e.stop.Text }

// MayStart returns an error when the task may not start any more: its end was
// requested, or the lease under which it holds its keys has lapsed. An executor
// calls it as its last step before the start.
func (t *Task) MayStart() error {
	if st, ok := t.Stops.Asked(); ok {
		return stoppedError{st}
	}
	if t.Leased != nil && !t.Leased() {
		return errLapsed
	}
	return nil
}

// notStarted is the result of a task that did not start.
func (t *Task) notStarted(err error) Result {
	r := Result{Finished: time.Now()}
	if with, ok := errors.AsType[*StartError](err); ok {
		r.Warnings = slices.Clone(with.Warnings)
	}
	stopped, ok := errors.AsType[stoppedError](err)
	switch {
	case ok:
		r.Status, r.Error = stopped.stop.Status, stopped.stop.Text
	case errors.Is(err, errLapsed):
		r.Status, r.Error = report.AttemptLost, "the lease of worker "+t.Worker+" lapsed before the start"
	default:
		warnings := r.Warnings
		r = NotStarted(err)
		r.Warnings = warnings
	}
	return r
}

// NotStarted is how an attempt ends that could not start because of err: handed
// back when the machine causes the error, failed otherwise.
func NotStarted(err error) Result {
	r := Result{Status: report.AttemptFailed, Error: err.Error(), Finished: time.Now()}
	if machine.Caused(err) {
		r.Status, r.Unable = report.AttemptHandedBack, true
	}
	return r
}
