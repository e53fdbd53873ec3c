package client_test

import (
	"errors"
	"testing"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// waiting is a run of one module, and the number of times that Wait found it
// undecided.
type waiting struct {
	*written
	undecided int
}

func (w *waiting) wait(t *testing.T, o client.WaitOptions) (*report.Report, error) {
	t.Helper()
	o.Undecided = func() { w.undecided++ }
	return client.New(w.c).Wait(t.Context(), "r", o)
}

// end writes the outcome of the module, and the end of the run.
func (w *waiting) end(status report.AttemptStatus, of report.RunStatus) {
	w.write(w.id.Module, jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: status, Worker: "w", Nonce: "n", Started: time.Now()}})
	w.write("", jobs.Record{End: &jobs.End{Status: of}})
}

func bubbleWaiting(t *testing.T, test func(t *testing.T, w *waiting)) {
	t.Helper()
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		c := dial(t, s.Options()...)
		defer c.Close()
		w := &waiting{written: submitted(t, c, "name: p\nmodules: {a: {run: 'true'}}\n")}
		w.write("", jobs.Record{Takeover: &jobs.Takeover{Epoch: 1, Orchestrator: "o"}})
		test(t, w)
	})
}

func TestWaitReturnsTheReportOfAnEndedRun(t *testing.T) {
	bubbleWaiting(t, func(t *testing.T, w *waiting) { //nolint:thelper // it is the test
		w.end(report.AttemptFailed, report.RunFailed)
		rep, err := w.wait(t, client.WaitOptions{Alone: true})
		if err != nil || rep.Status != report.RunFailed || w.undecided != 0 {
			t.Errorf("report %+v, error %v, undecided %d times", rep, err, w.undecided)
		}
	})
}

func TestWaitNotifiesOfAnUndecidedRunAndWaitsForItsEnd(t *testing.T) {
	bubbleWaiting(t, func(t *testing.T, w *waiting) { //nolint:thelper // it is the test
		time.AfterFunc(time.Minute, func() { w.end(report.AttemptSucceeded, report.RunSucceeded) })
		rep, err := w.wait(t, client.WaitOptions{Timeout: time.Hour})
		if err != nil || rep.Status != report.RunSucceeded || w.undecided != 1 {
			t.Errorf("report %+v, error %v, undecided %d times", rep, err, w.undecided)
		}
	})
}

func TestWaitReturnsErrTimeoutWhileTheRunGoesOn(t *testing.T) {
	bubbleWaiting(t, func(t *testing.T, w *waiting) { //nolint:thelper // it is the test
		if rep, err := w.wait(t, client.WaitOptions{Timeout: time.Minute}); rep != nil || !errors.Is(err, client.ErrTimeout) {
			t.Errorf("report %+v, error %v, want ErrTimeout", rep, err)
		}
	})
}

func TestWaitAloneReturnsErrUndecided(t *testing.T) {
	bubbleWaiting(t, func(t *testing.T, w *waiting) { //nolint:thelper // it is the test
		if rep, err := w.wait(t, client.WaitOptions{Alone: true}); rep != nil || !errors.Is(err, client.ErrUndecided) {
			t.Errorf("report %+v, error %v, want ErrUndecided", rep, err)
		}
		if _, err := client.New(w.c).Wait(t.Context(), "unknown", client.WaitOptions{Alone: true}); !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("an unknown run: error %v, want ErrNotFound", err)
		}
	})
}
