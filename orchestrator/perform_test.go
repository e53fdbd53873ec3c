package orchestrator

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modpipe/modpipe/jobs"
)

// A purge waits for the publication that it might overtake: until that is
// answered, or so late that the job would be looked at before it starts.
func TestAPurgeOvertakesNoPublication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := &publication{answered: make(chan struct{}), until: began.Add(5 * time.Second)}
		time.AfterFunc(time.Second, func() { close(p.answered) })
		if p.await(t.Context()); time.Since(began) != time.Second {
			t.Errorf("waited %s for an answer that came after 1 s", time.Since(began))
		}
		p = &publication{answered: make(chan struct{}), until: began.Add(5 * time.Second)}
		if p.await(t.Context()); time.Since(began) != 5*time.Second {
			t.Errorf("went on after %s without an answer", time.Since(began))
		}
		p.until = time.Now().Add(time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p.await(ctx)
	})
}

// What is not known to be stored keeps the lease from being given back.
func TestAPublicationWithoutAnAnswerIsKnown(t *testing.T) {
	var l loop
	if !l.unanswered().IsZero() {
		t.Error("nothing was published")
	}
	p := &publication{answered: make(chan struct{}), until: time.Now()}
	l.sent.Store(jobs.AttemptID{Module: "m", Attempt: 1}, p)
	if !l.unanswered().Equal(p.until) {
		t.Error("a publication without an answer is forgotten")
	}
	if l.sent.CompareAndDelete(jobs.AttemptID{Module: "m", Attempt: 1}, p); !l.unanswered().IsZero() {
		t.Error("one that was answered is not")
	}
}

// TestOutcomeInPlaceOfAWorkerNamesItsOrchestrator: people read in the error who
// concluded that a worker is lost. A worker's own outcome stays as it is.
func TestOutcomeInPlaceOfAWorkerNamesItsOrchestrator(t *testing.T) {
	for _, row := range []struct {
		name    string
		outcome jobs.Outcome
		want    jobs.Outcome
	}{
		{"lost", jobs.Outcome{By: "orchestrator", Error: "worker w fell silent"}, jobs.Outcome{By: "s1", Error: "worker w fell silent (recorded by orchestrator s1)"}},
		{"cancelled before its start", jobs.Outcome{By: "orchestrator", Reason: "enough"}, jobs.Outcome{By: "s1", Reason: "enough"}},
		{"by its worker", jobs.Outcome{Error: "exit code 1"}, jobs.Outcome{Error: "exit code 1"}},
	} {
		if diff := cmp.Diff(&row.want, signed(row.outcome, "s1")); diff != "" {
			t.Errorf("%s: %s", row.name, diff)
		}
	}
}
