package orchestrator

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modpipe/modpipe/jobs"
)

// TestPurgeWaitsForThePublication: a purge waits for the publication that it
// might overtake. It waits until the publication is answered, or until a worker
// would check the job before it starts.
func TestPurgeWaitsForThePublication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := &publication{answered: make(chan struct{}), until: began.Add(5 * time.Second)}
		time.AfterFunc(time.Second, func() { close(p.answered) })
		if p.await(t.Context()); time.Since(began) != time.Second {
			t.Errorf("waited %s for an answer after 1 s", time.Since(began))
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

// TestUnansweredPublicationIsCounted: a publication without an answer counts as
// unanswered, so that its lease is not released.
func TestUnansweredPublicationIsCounted(t *testing.T) {
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
		t.Error("a publication with an answer is not forgotten")
	}
}

// TestOutcomeInPlaceOfAWorkerNamesItsOrchestrator: the error names the orchestrator
// that has recorded the outcome. The outcome of a worker stays as it is.
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
