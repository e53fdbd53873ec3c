package function

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/internal/exec/exectest"
	"github.com/modpipe/modpipe/internal/exec/process"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// functionFunc is a program of one function.
type functionFunc func(context.Context, call.Request) call.Response

func (f functionFunc) Call(ctx context.Context, req call.Request) call.Response { return f(ctx, req) }

func runFunction(t *testing.T, job jobs.Job, stops *exectest.Stops, f functionFunc) (exec.Result, string) {
	t.Helper()
	out := &exectest.Output{}
	job.Func = &jobs.FuncJob{Name: "f"}
	e := exec.Run(t.Context(), Executor{Program: f}, &exec.Task{Job: &job, Stops: stops}, out)
	return e, out.Stdout()
}

func TestFunctionReturns(t *testing.T) {
	e, log := runFunction(t, jobs.Job{}, exectest.NewStops(), func(_ context.Context, req call.Request) call.Response {
		fmt.Fprintln(req.Log, "hello") //nolint:errcheck // a test
		return call.Response{Began: true, Result: []byte{1}}
	})
	if e.Status != report.AttemptSucceeded || !e.Typed || len(e.Value) != 1 || log != "hello\n" || e.Started.IsZero() {
		t.Errorf("%+v, %q", e, log)
	}
}

func TestFunctionFails(t *testing.T) {
	e, _ := runFunction(t, jobs.Job{}, exectest.NewStops(), func(context.Context, call.Request) call.Response {
		return call.Response{Began: true, Error: "no", Permanent: true, RetryAfter: time.Minute}
	})
	if e.Status != report.AttemptFailed || e.Error != "no" || !e.Permanent || e.RetryAfter != time.Minute || e.Typed {
		t.Errorf("%+v", e)
	}
}

func TestConditionUsesNoAttemptUp(t *testing.T) {
	e, _ := runFunction(t, jobs.Job{}, exectest.NewStops(), func(context.Context, call.Request) call.Response {
		return call.Response{Skipped: true, Reason: "because"}
	})
	if e.Status != report.AttemptSkipped || e.Reason != "because" || !e.Started.IsZero() {
		t.Errorf("%+v", e)
	}
}

func TestFunctionTimesOut(t *testing.T) {
	cause := make(chan error, 1)
	e, _ := runFunction(t, jobs.Job{Timeout: 10 * time.Millisecond, Grace: time.Minute}, exectest.NewStops(), func(ctx context.Context, _ call.Request) call.Response {
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return call.Response{Began: true, Result: []byte{1}}
	})
	if e.Status != report.AttemptTimedOut || e.Error != "timed out after 10ms" || e.Typed {
		t.Errorf("%+v", e)
	}
	if err := <-cause; err.Error() != "timed out after 10ms" {
		t.Errorf("cause %v", err)
	}
}

// TestFunctionThatReturnedInTimeBeforeAPauseHasNotTimedOut: this process was
// stopped, and finds the result and the end of the timeout at once.
func TestFunctionThatReturnedInTimeBeforeAPauseHasNotTimedOut(t *testing.T) {
	const timeout = time.Hour
	for _, row := range []struct {
		name   string
		ran    time.Duration // until it returned
		paused time.Duration // before that
		want   report.AttemptStatus
	}{
		{"in time", timeout / 2, 0, ""},
		{"late", 2 * timeout, 0, report.AttemptTimedOut},
		{"late by the pause alone", 2 * timeout, 3 * timeout / 2, ""},
	} {
		began := time.Now().Add(-3 * timeout)
		task := &exec.Task{Job: &jobs.Job{Timeout: timeout}, Stops: exectest.NewStops()}
		h := newHandle(task, &exectest.Output{}, func(error) {}, began)
		h.clock = suspendedFirst(began, row.paused, began.Add(row.ran))
		h.finish(call.Response{Skipped: true}, began.Add(row.ran))
		r := exec.Supervise(task, h)
		status := r.Status
		if status == report.AttemptSkipped {
			status = ""
		}
		if status != row.want {
			t.Errorf("%s: %q, want %q", row.name, status, row.want)
		}
	}
}

// TestTimeoutOfAFunctionLeavesPausesOut: the timeout counts while the process
// runs; its end is put off by the time in which the process was stopped.
func TestTimeoutOfAFunctionLeavesPausesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		task := &exec.Task{Job: &jobs.Job{Timeout: 10 * time.Second, Grace: time.Second}, Stops: exectest.NewStops()}
		ctx, cancel := context.WithCancelCause(t.Context())
		h := newHandle(task, &exectest.Output{}, cancel, began)
		h.clock.Ran(began.Add(3 * time.Second)) // which counts as suspended
		go func() {
			<-ctx.Done()
			h.finish(call.Response{Began: true}, time.Now())
		}()
		r := exec.Supervise(task, h)
		if took := time.Since(began); r.Status != report.AttemptTimedOut || took != 13*time.Second {
			t.Errorf("%+v after %v", r, took)
		}
	})
}

// suspendedFirst is the clock of a process that was suspended for a while from the
// beginning, and ran from then on until a time.
func suspendedFirst(began time.Time, paused time.Duration, until time.Time) *exec.Stopwatch {
	w := exec.NewStopwatch(began)
	for at := began.Add(paused); at.Before(until); at = at.Add(exec.ClockInterval) {
		w.Ran(at)
	}
	w.Ran(until)
	return w
}

func TestFunctionThatIgnoresItsContextIsAbandoned(t *testing.T) {
	release := make(chan struct{})
	gone := make(chan error, 1)
	e, _ := runFunction(t, jobs.Job{Timeout: 10 * time.Millisecond, Grace: time.Millisecond}, exectest.NewStops(), func(_ context.Context, req call.Request) call.Response {
		<-release
		<-req.Abandoned
		_, err := fmt.Fprintln(req.Log, "too late")
		gone <- err
		return call.Response{}
	})
	if e.Status != report.AttemptTimedOut || !strings.Contains(e.Error, "does not respect its context") {
		t.Errorf("%+v", e)
	}
	close(release)
	if err := <-gone; err == nil {
		t.Error("what was abandoned still writes")
	}
}

func TestFunctionThatEndsItsGoroutine(t *testing.T) {
	e, _ := runFunction(t, jobs.Job{}, exectest.NewStops(), func(context.Context, call.Request) call.Response {
		runtime.Goexit()
		return call.Response{}
	})
	if e.Status != report.AttemptFailed || !strings.Contains(e.Error, "Goexit") {
		t.Errorf("%+v", e)
	}
}

func TestFunctionIsCancelled(t *testing.T) {
	stops := exectest.NewStops()
	e, _ := runFunction(t, jobs.Job{}, stops, func(ctx context.Context, _ call.Request) call.Response {
		stops.Ask(exec.Stop{Status: report.AttemptCancelled, Text: "enough", Grace: time.Minute})
		<-ctx.Done()
		return call.Response{Error: ctx.Err().Error()}
	})
	if e.Status != report.AttemptCancelled || e.Error != "enough" {
		t.Errorf("%+v", e)
	}
}

func TestWorkerWithoutAProgramRefuses(t *testing.T) {
	task := &exec.Task{Job: &jobs.Job{Func: &jobs.FuncJob{Name: "f"}}, Worker: "w1", Stops: exectest.NewStops()}
	e := exec.Run(t.Context(), Executor{}, task, &exectest.Output{})
	if e.Status != report.AttemptFailed || !strings.Contains(e.Error, "has no Go functions") {
		t.Errorf("%+v", e)
	}
}

func TestPreparedCommandRunsWithTheValuesOfTheProgram(t *testing.T) {
	job := &jobs.Job{Func: &jobs.FuncJob{Name: "f"}, Command: &jobs.CommandJob{
		Run: `echo "$A $(cat)"`, Shell: "sh", Env: []pipeline.KeyValue{{Key: "A", Value: "old"}},
	}}
	program := functionFunc(func(context.Context, call.Request) call.Response {
		return call.Response{Prepared: true, Env: map[string]string{"A": "new"}, Stdin: []byte("in")}
	})
	task, out := &exec.Task{Job: job, Stops: exectest.NewStops()}, &exectest.Output{}
	r := exec.Run(t.Context(), Executor{Program: program}, task, out)
	if r.Prepared == nil || r.Status != "" {
		t.Fatalf("no command was prepared: %+v", r)
	}
	task.Job = r.Prepared
	commands := process.New(process.Config{Workspace: workspace.New(""), Logger: slog.New(slog.DiscardHandler)})
	r = exec.Run(t.Context(), commands, task, out)
	if r.Status != report.AttemptSucceeded || out.Stdout() != "new in\n" {
		t.Errorf("%+v, %q", r, out.Stdout())
	}
}
