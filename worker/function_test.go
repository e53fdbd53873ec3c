package worker

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
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
	e := (&function{functions: f, command: &command{job: &job, environ: os.Environ()}}).run(t.Context(), stops, out)
	out.mu.Lock()
	defer out.mu.Unlock()
	return e, out.text.String()
}

func TestFunctionReturns(t *testing.T) {
	e, log := runFunction(t, jobs.Job{}, attempt.NewStops(), func(_ context.Context, req call.Request) call.Response {
		fmt.Fprintln(req.Log, "hello") //nolint:errcheck // a test
		return call.Response{Began: true, Result: []byte{1}}
	})
	if e.status != jobs.AttemptSucceeded || !e.typed || len(e.result) != 1 || log != "hello\n" || e.started.IsZero() {
		t.Errorf("%+v, %q", e, log)
	}
}

func TestFunctionFails(t *testing.T) {
	e, _ := runFunction(t, jobs.Job{}, attempt.NewStops(), func(context.Context, call.Request) call.Response {
		return call.Response{Began: true, Error: "no", Permanent: true, RetryAfter: time.Minute}
	})
	if e.status != jobs.AttemptFailed || e.text != "no" || !e.permanent || e.retryAfter != time.Minute || e.typed {
		t.Errorf("%+v", e)
	}
}

func TestConditionUsesNoAttemptUp(t *testing.T) {
	e, _ := runFunction(t, jobs.Job{}, attempt.NewStops(), func(context.Context, call.Request) call.Response {
		return call.Response{Skipped: true, Reason: "because"}
	})
	if e.status != jobs.AttemptSkipped || e.reason != "because" || !e.started.IsZero() {
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
	if e.status != jobs.AttemptTimedOut || e.text != "timed out after 10ms" || e.typed {
		t.Errorf("%+v", e)
	}
	if err := <-cause; err.Error() != "timed out after 10ms" {
		t.Errorf("cause %v", err)
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
	if e.status != jobs.AttemptTimedOut || !strings.Contains(e.text, "does not respect its context") {
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
	if e.status != jobs.AttemptFailed || !strings.Contains(e.text, "Goexit") {
		t.Errorf("%+v", e)
	}
}

func TestFunctionIsCancelled(t *testing.T) {
	stops := attempt.NewStops()
	e, _ := runFunction(t, jobs.Job{}, stops, func(ctx context.Context, _ call.Request) call.Response {
		stops.Ask(attempt.Stop{Status: jobs.AttemptCancelled, Text: "enough", Grace: time.Minute})
		<-ctx.Done()
		return call.Response{Error: ctx.Err().Error()}
	})
	if e.status != jobs.AttemptCancelled || e.text != "enough" {
		t.Errorf("%+v", e)
	}
}

func TestWorkerWithoutAProgramRefuses(t *testing.T) {
	e := (&function{command: &command{job: &jobs.Job{}}}).run(t.Context(), attempt.NewStops(), &textSink{})
	if e.status != jobs.AttemptFailed || !strings.Contains(e.text, "has no Go functions") {
		t.Errorf("%+v", e)
	}
}

func TestPreparedCommand(t *testing.T) {
	e, log := runFunction(t, jobs.Job{Command: &jobs.CommandJob{
		Run: `echo "$A $(cat)"`, Shell: "sh", Env: []pipeline.Pair{{Axis: "A", Value: "old"}},
	}}, attempt.NewStops(), func(context.Context, call.Request) call.Response {
		return call.Response{Prepared: true, Env: map[string]string{"A": "new"}, Stdin: []byte("in")}
	})
	if e.status != jobs.AttemptSucceeded || log != "new in\n" {
		t.Errorf("%+v, %q", e, log)
	}
}
