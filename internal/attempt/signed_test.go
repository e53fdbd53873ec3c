package attempt

import (
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
		{"an outcome in the name of an orchestrator", jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptLost, By: "o"}}, unexplained},
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
