//go:build linux

package worker

import (
	"testing"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/internal/puller"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// lone is an attempt of module m without a shift that works.
func lone(t *testing.T, c *broker.Conn, keyed bool) *task {
	t.Helper()
	w, err := New(c, Config{Name: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newShift(w)
	if err != nil {
		t.Fatal(err)
	}
	s.self.TTL, s.self.KeyLease = time.Second, attempt.NewKeyLease(time.Minute)
	s.self.KeyLease.Renew(time.Now(), time.Now())
	s.puller = puller.New(c.Conn, c.Queue, 1, nil)
	a := s.newTask(&puller.Delivery{Slots: 1, Connection: c.Connection(), Job: jobs.Job{
		Run: "r1", Module: "m", Name: "m", Attempt: 2, Keyed: keyed, Command: &jobs.CommandJob{Run: "touch ran", Shell: "sh"},
	}})
	s.executing.add(1)
	return a
}

func dial(t *testing.T) *broker.Conn {
	t.Helper()
	s := natstest.InProcess(t)
	c, err := broker.Connect(t.Context(), broker.Config{URL: s.URL(), Options: s.Options(), ConnectTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Rule 14: what a refused commit finds in the cell, and what becomes of it.
func TestRefusedCommit(t *testing.T) {
	claim := func(a *task) jobs.Record { return a.Claim() }
	outcome := func(a *task) jobs.Record {
		return jobs.Record{Outcome: a.outcome(exec.Result{Status: report.AttemptFailed}, jobs.Value{}, 0)}
	}
	for _, tc := range []struct {
		name   string
		cell   []func(*task) jobs.Record
		known  bool // the attempt knows of its claim
		stands bool // its outcome is the last record in the end
		want   attempt.Verdict
	}{
		{"nothing in between", nil, false, true, attempt.Drop},
		{"its claim", []func(*task) jobs.Record{claim}, true, true, attempt.Drop},
		{"its claim, unanswered", []func(*task) jobs.Record{claim}, false, true, attempt.Drop},
		{"its outcome, unanswered", []func(*task) jobs.Record{claim, outcome}, true, false, attempt.Drop},
		{"the claim of another delivery to this worker", []func(*task) jobs.Record{func(a *task) jobs.Record {
			return jobs.Record{Claim: &jobs.Claim{Attempt: 2, Worker: "w1", Incarnation: a.s.self.Incarnation, Nonce: "n"}}
		}}, false, false, attempt.Leave},
		{"closed by the orchestrator in its name", []func(*task) jobs.Record{claim, func(a *task) jobs.Record {
			return jobs.Record{Outcome: &jobs.Outcome{Attempt: 2, Status: report.AttemptLost, By: "o", Worker: "w1", Incarnation: a.s.self.Incarnation, Nonce: a.Nonce()}}
		}}, true, false, attempt.Drop},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := dial(t)
			a := lone(t, c, false)
			var last uint64
			for i, rec := range tc.cell {
				if i == 0 && tc.known {
					a.job.ClaimFirst = true
					if v := a.Admit(t.Context()); v != attempt.Start {
						t.Fatalf("verdict %v", v)
					}
					last = a.Token()
					continue
				}
				seq, err := c.Runs.Append(t.Context(), "r1", "m", last, rec(a))
				if err != nil {
					t.Fatal(err)
				}
				last = seq
			}
			v, err := a.Commit(t.Context(), a.outcome(exec.Result{Status: report.AttemptSucceeded}, jobs.Value{}, 0))
			if err != nil || v != tc.want {
				t.Errorf("verdict %v, %v; want %v", v, err, tc.want)
			}
			e, err := c.Runs.Last(t.Context(), "r1", "m")
			if err != nil {
				t.Fatal(err)
			}
			if stands := e.Sequence != last && e.Record.Outcome != nil && e.Record.Outcome.Status == report.AttemptSucceeded; stands != tc.stands {
				t.Errorf("its outcome stands: %v", stands)
			}
		})
	}
}

// Rule 11: an unanswered claim is looked up.
func TestUnansweredClaimIsFound(t *testing.T) {
	c := dial(t)
	a := lone(t, c, true)
	seq, err := c.Runs.Append(t.Context(), "r1", "m", 0, a.Claim())
	if err != nil {
		t.Fatal(err)
	}
	if v := a.Admit(t.Context()); v != attempt.Start || a.Token() != seq {
		t.Errorf("verdict %v, claim %d; want %d", v, a.Token(), seq)
	}
}

// Rule 12: under a lease that has lapsed since the claim was sent nothing
// starts, also when it is live again.
func TestGapSinceTheClaimMakesItLost(t *testing.T) {
	c := dial(t)
	a := lone(t, c, true)
	if v := a.Admit(t.Context()); v != attempt.Start {
		t.Fatal("not claimed")
	}
	later := time.Now().Add(2 * time.Minute)
	if _, live := a.s.self.KeyLease.State(later); live {
		t.Fatal("it does not lapse")
	}
	a.s.self.KeyLease.Renew(later, later)
	e, _, err := a.execute(t.Context())
	if err != nil || e.Status != report.AttemptLost || !e.Started.IsZero() {
		t.Errorf("%+v, %v", e, err)
	}
}
