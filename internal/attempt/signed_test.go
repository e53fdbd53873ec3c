package attempt

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

func signedDelivery(t *testing.T) *Delivery {
	t.Helper()
	w := &Worker{Name: "w", Incarnation: "i", TTL: time.Second, Log: &silent{}, Clock: still{}, Logger: slog.New(slog.DiscardHandler)}
	return w.Deliver(&jobs.Job{Run: "r", Module: "m", Attempt: 1, Key: []byte("k")}, Arrival{Nonce: "n", Connection: 1})
}

// Everybody can read the incarnation and the nonce of a claim, and write them into a
// record. Only the key tells who has written it.
func TestWorkerBelievesSignedRecordsOnly(t *testing.T) {
	d := signedDelivery(t)
	for _, tt := range []struct {
		name string
		rec  jobs.Record
		want cellState
	}{
		{"its own claim", jobs.Record{Claim: &jobs.Claim{Attempt: 1, Incarnation: "i", Nonce: "n"}}, myClaim},
		{"its own outcome", jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Incarnation: "i", Nonce: "n"}}, myOutcome},
		{"another claim", jobs.Record{Claim: &jobs.Claim{Attempt: 1, Incarnation: "j", Nonce: "m"}}, anothersClaim},
		{"another outcome", jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Incarnation: "j", Nonce: "m"}}, closed},
		{"an outcome by an orchestrator", jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptLost, By: "o"}}, closed},
	} {
		for auth, want := range map[jobs.Authenticity]cellState{jobs.Verified: tt.want, jobs.Forged: unexplained, jobs.Unverified: unexplained} {
			if got := d.classify(jobs.Entry{Sequence: 7, Record: tt.rec, Auth: auth}); got != want {
				t.Errorf("%s with authenticity %d is %d, want %d", tt.name, auth, got, want)
			}
		}
	}
}

func TestWorkerIgnoresUnsignedMessages(t *testing.T) {
	d := signedDelivery(t)
	id := "n.1"
	d.asking.Store(&id)
	for _, by := range []Signature{nil, func(key []byte) bool { return slices.Equal(key, []byte("other")) }} {
		if d.Answered(&jobs.Answer{ID: id, State: jobs.StandsClosed}, by); d.answer.Load() != nil {
			t.Error("it believes an answer that is not signed with its key")
		}
		if d.Cancelled("r", &jobs.CancelAttempt{Module: "m", Attempt: 1}, by) {
			t.Error("it believes a cancellation that is not signed with its key")
		}
		if _, asked := d.Stops().Asked(); asked {
			t.Error("it is cancelled")
		}
	}
	if !d.Cancelled("r", &jobs.CancelAttempt{Module: "other", Attempt: 1}, nil) {
		t.Error("it counts a cancellation of another attempt as forged")
	}
	mine := func(key []byte) bool { return slices.Equal(key, []byte("k")) }
	if d.Answered(&jobs.Answer{ID: id, State: jobs.StandsClosed}, mine); d.answer.Load() == nil {
		t.Error("it ignores a signed answer")
	}
	if _, asked := d.Stops().Asked(); !d.Cancelled("r", &jobs.CancelAttempt{Module: "m", Attempt: 1}, mine) || asked {
		t.Error("it ignores a signed cancellation")
	}
}

// crowded is a log in whose cell another writer is faster than the worker, the first
// times. The orchestrator answers every question.
type crowded struct {
	Log
	d       *Delivery
	writes  int // of the other writer that are left
	newest  uint64
	outcome *jobs.Outcome // that the worker has stored
}

func (l *crowded) Connection() uint64 { return 1 }

func (l *crowded) Append(_ context.Context, _ uint64, _ Cell, expect uint64, rec jobs.Record) (uint64, error) {
	if l.writes > 0 {
		l.writes--
		l.newest++
	}
	if expect != l.newest {
		return 0, ErrConflict
	}
	l.outcome = rec.Outcome
	return l.newest + 1, nil
}

func (l *crowded) Last(context.Context, Cell) (jobs.Entry, error) {
	return jobs.Entry{Sequence: l.newest, Record: jobs.Record{Outcome: &jobs.Outcome{Attempt: 1}}, Auth: jobs.Forged}, nil
}

func (l *crowded) Ask(_ context.Context, _ jobs.RunID, q jobs.Question) error {
	l.d.Answered(&jobs.Answer{ID: q.ID, State: jobs.StandsYours, Claim: 7, Last: l.newest}, func([]byte) bool { return true })
	return nil
}

// prompt is a clock for which everything that will happen has happened.
type prompt struct{ still }

func (prompt) Await(_ context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	default:
		return context.DeadlineExceeded
	}
}

// However often others write into the cell, the worker does not give its outcome up.
func TestCommitOutlastsAFlood(t *testing.T) {
	log := &crowded{writes: 3 * maxUnexplainedRefusals, newest: 7}
	w := &Worker{Name: "w", Incarnation: "i", TTL: time.Second, Log: log, Clock: prompt{}, Logger: slog.New(slog.DiscardHandler)}
	log.d = w.Deliver(&jobs.Job{Run: "r", Module: "m", Attempt: 1, Key: []byte("k")}, Arrival{Nonce: "n", Connection: 1})
	v, err := log.d.Commit(t.Context(), log.d.Sign(&jobs.Outcome{Status: report.AttemptSucceeded}))
	if err != nil || v != Drop || log.outcome == nil {
		t.Errorf("verdict %d, %v; stored: %v", v, err, log.outcome)
	}
}
