package worker

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// functionFunc is a program of one function.
type functionFunc func(context.Context, call.Request) call.Response

func (f functionFunc) Identity() (pipeline.Program, error) {
	return pipeline.Program{Name: "p", Build: "b", Graph: "g"}, nil
}

func (f functionFunc) Call(ctx context.Context, req call.Request) call.Response { return f(ctx, req) }

// textSink keeps what is written.
type textSink struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *textSink) write(_ jobs.Stream, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(data)
}

func runFunction(t *testing.T, job jobs.Job, stops *attempt.Stops, f functionFunc) (ending, string) {
	t.Helper()
	out := &textSink{}
	job.Func = &jobs.FuncJob{Name: "f"}
	e := (&function{functions: f, command: &command{job: &job, environ: os.Environ(), workspace: workspace.New("")}}).run(t.Context(), stops, out)
	out.mu.Lock()
	defer out.mu.Unlock()
	return e, out.text.String()
}

func TestFunctionReturns(t *testing.T) {
	e, log := runFunction(t, jobs.Job{}, attempt.NewStops(), func(_ context.Context, req call.Request) call.Response {
		fmt.Fprintln(req.Log, "hello") //nolint:errcheck // a test
		return call.Response{Began: true, Result: []byte{1}}
	})
	if e.status != report.AttemptSucceeded || !e.typed || len(e.result) != 1 || log != "hello\n" || e.started.IsZero() {
		t.Errorf("%+v, %q", e, log)
	}
}

func TestFunctionFails(t *testing.T) {
	e, _ := runFunction(t, jobs.Job{}, attempt.NewStops(), func(context.Context, call.Request) call.Response {
		return call.Response{Began: true, Error: "no", Permanent: true, RetryAfter: time.Minute}
	})
	if e.status != report.AttemptFailed || e.text != "no" || !e.permanent || e.retryAfter != time.Minute || e.typed {
		t.Errorf("%+v", e)
	}
}

func TestConditionUsesNoAttemptUp(t *testing.T) {
	e, _ := runFunction(t, jobs.Job{}, attempt.NewStops(), func(context.Context, call.Request) call.Response {
		return call.Response{Skipped: true, Reason: "because"}
	})
	if e.status != report.AttemptSkipped || e.reason != "because" || !e.started.IsZero() {
		t.Errorf("%+v", e)
	}
}

func TestFunctionTimesOut(t *testing.T) {
	cause := make(chan error, 1)
	e, _ := runFunction(t, jobs.Job{Timeout: 10 * time.Millisecond, Grace: time.Minute}, attempt.NewStops(), func(ctx context.Context, _ call.Request) call.Response {
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return call.Response{Began: true, Result: []byte{1}}
	})
	if e.status != report.AttemptTimedOut || e.text != "timed out after 10ms" || e.typed {
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
		f := &function{command: &command{job: &jobs.Job{Timeout: timeout}}}
		over := make(chan returned, 1)
		over <- returned{call.Response{Began: true}, began.Add(row.ran)}
		w := newStopwatch(began)
		w.looked, w.paused = began.Add(row.ran), row.paused
		_, stopped, ok := f.supervise(attempt.NewStops(), func(error) {}, over, w)
		status := report.AttemptStatus("")
		if stopped != nil {
			status = stopped.Status
		}
		if !ok || status != row.want {
			t.Errorf("%s: %q, want %q", row.name, status, row.want)
		}
	}
}

// TestTimeoutOfAFunctionLeavesPausesOut: the timeout counts while the process
// runs; its end is put off by the time in which the process was stopped.
func TestTimeoutOfAFunctionLeavesPausesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		f := &function{command: &command{job: &jobs.Job{Timeout: 10 * time.Second, Grace: time.Second}}}
		w := newStopwatch(began)
		w.paused = 3 * time.Second
		ctx, cancel := context.WithCancelCause(t.Context())
		over := make(chan returned, 1)
		go func() {
			<-ctx.Done()
			over <- returned{at: time.Now()}
		}()
		_, stopped, ok := f.supervise(attempt.NewStops(), cancel, over, w)
		if took := time.Since(began); !ok || stopped == nil || stopped.Status != report.AttemptTimedOut || took != 13*time.Second {
			t.Errorf("%+v after %v", stopped, took)
		}
	})
}

func TestStopwatchLeavesPausesOut(t *testing.T) {
	began := time.Now()
	w := newStopwatch(began)
	for _, row := range []struct{ at, want time.Duration }{
		{200 * time.Millisecond, 200 * time.Millisecond},
		{700 * time.Millisecond, 700 * time.Millisecond}, // a busy machine
		{9700 * time.Millisecond, 700 * time.Millisecond},
		{9900 * time.Millisecond, 900 * time.Millisecond},
		{9800 * time.Millisecond, 800 * time.Millisecond}, // before the last look
	} {
		if got := w.ran(began.Add(row.at)); got != row.want {
			t.Errorf("after %v: ran %v, want %v", row.at, got, row.want)
		}
	}
}

func TestFunctionThatIgnoresItsContextIsAbandoned(t *testing.T) {
	release := make(chan struct{})
	gone := make(chan error, 1)
	e, _ := runFunction(t, jobs.Job{Timeout: 10 * time.Millisecond, Grace: time.Millisecond}, attempt.NewStops(), func(_ context.Context, req call.Request) call.Response {
		<-release
		<-req.Abandoned
		_, err := fmt.Fprintln(req.Log, "too late")
		gone <- err
		return call.Response{}
	})
	if e.status != report.AttemptTimedOut || !strings.Contains(e.text, "does not respect its context") {
		t.Errorf("%+v", e)
	}
	close(release)
	if err := <-gone; err == nil {
		t.Error("what was abandoned still writes")
	}
}

func TestFunctionThatEndsItsGoroutine(t *testing.T) {
	e, _ := runFunction(t, jobs.Job{}, attempt.NewStops(), func(context.Context, call.Request) call.Response {
		runtime.Goexit()
		return call.Response{}
	})
	if e.status != report.AttemptFailed || !strings.Contains(e.text, "Goexit") {
		t.Errorf("%+v", e)
	}
}

func TestFunctionIsCancelled(t *testing.T) {
	stops := attempt.NewStops()
	e, _ := runFunction(t, jobs.Job{}, stops, func(ctx context.Context, _ call.Request) call.Response {
		stops.Ask(attempt.Stop{Status: report.AttemptCancelled, Text: "enough", Grace: time.Minute})
		<-ctx.Done()
		return call.Response{Error: ctx.Err().Error()}
	})
	if e.status != report.AttemptCancelled || e.text != "enough" {
		t.Errorf("%+v", e)
	}
}

func TestWorkerWithoutAProgramRefuses(t *testing.T) {
	e := (&function{command: &command{job: &jobs.Job{}}}).run(t.Context(), attempt.NewStops(), &textSink{})
	if e.status != report.AttemptFailed || !strings.Contains(e.text, "has no Go functions") {
		t.Errorf("%+v", e)
	}
}

func TestPreparedCommand(t *testing.T) {
	e, log := runFunction(t, jobs.Job{Command: &jobs.CommandJob{
		Run: `echo "$A $(cat)"`, Shell: "sh", Env: []pipeline.Pair{{Axis: "A", Value: "old"}},
	}}, attempt.NewStops(), func(context.Context, call.Request) call.Response {
		return call.Response{Prepared: true, Env: map[string]string{"A": "new"}, Stdin: []byte("in")}
	})
	if e.status != report.AttemptSucceeded || log != "new in\n" {
		t.Errorf("%+v, %q", e, log)
	}
}
