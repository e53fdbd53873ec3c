//go:build linux

package worker

import (
	"testing"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/natstest"
)

// lone is an attempt of module m without a shift that works.
func lone(t *testing.T, c *broker.Conn, keyed bool) *attempt {
	t.Helper()
	w, err := New(c, Config{Name: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	s := newShift(w)
	s.ttl = time.Second
	s.lease = newLease(time.Minute)
	s.lease.renew(time.Now(), time.Now())
	s.puller = broker.NewPuller(c, 1, nil)
	a := s.newAttempt(&broker.Delivery{Slots: 1, Job: jobs.Job{
		Run: "r1", Token: "m", Name: "m", Attempt: 2, Keyed: keyed, Command: &jobs.CommandJob{Run: "touch ran", Shell: "sh"},
	}})
	s.executing.add(1)
	return a
}

func dial(t *testing.T) *broker.Conn {
	t.Helper()
	s := natstest.InProcess(t)
	c, err := broker.Connect(t.Context(), broker.Config{URL: s.URL(), Options: s.Options(), ConnectTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Rule 14: what a refused commit finds in the cell, and what becomes of it.
func TestRefusedCommit(t *testing.T) {
	claim := func(a *attempt) jobs.Record { return a.claimRecord() }
	outcome := func(a *attempt) jobs.Record {
		return jobs.Record{Outcome: a.outcome(ending{status: jobs.AttemptFailed}, jobs.Outputs{}, 0)}
	}
	for _, tc := range []struct {
		name   string
		cell   []func(*attempt) jobs.Record
		known  bool // the attempt knows of its claim
		stands bool // its outcome is the last record in the end
		want   verdict
	}{
		{"nothing in between", nil, false, true, drop},
		{"its claim", []func(*attempt) jobs.Record{claim}, true, true, drop},
		{"its claim, unanswered", []func(*attempt) jobs.Record{claim}, false, true, drop},
		{"its outcome, unanswered", []func(*attempt) jobs.Record{claim, outcome}, true, false, drop},
		{"the claim of another delivery to this worker", []func(*attempt) jobs.Record{func(a *attempt) jobs.Record {
			return jobs.Record{Claim: &jobs.Claim{Attempt: 2, Worker: "w1", Incarnation: a.s.incarnation, Nonce: "n"}}
		}}, false, false, leave},
		{"closed by the orchestrator in its name", []func(*attempt) jobs.Record{claim, func(a *attempt) jobs.Record {
			return jobs.Record{Outcome: &jobs.Outcome{Attempt: 2, Status: jobs.AttemptLost, By: "o", Worker: "w1", Incarnation: a.s.incarnation, Nonce: a.nonce}}
		}}, true, false, drop},
		{"the next attempt runs", []func(*attempt) jobs.Record{func(*attempt) jobs.Record {
			return jobs.Record{Claim: &jobs.Claim{Attempt: 3, Nonce: "n"}}
		}}, false, false, drop},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := dial(t)
			a := lone(t, c, false)
			var last uint64
			for i, rec := range tc.cell {
				seq, err := c.Append(t.Context(), "r1", "m", last, rec(a))
				if err != nil {
					t.Fatal(err)
				}
				if last = seq; i == 0 && tc.known {
					a.claimed.Store(seq)
				}
			}
			v, err := a.commit(t.Context(), a.outcome(ending{status: jobs.AttemptSucceeded}, jobs.Outputs{}, 0))
			if err != nil || v != tc.want {
				t.Errorf("verdict %v, %v; want %v", v, err, tc.want)
			}
			e, err := c.Last(t.Context(), "r1", "m")
			if err != nil {
				t.Fatal(err)
			}
			if stands := e.Sequence != last && e.Record.Outcome != nil && e.Record.Outcome.Status == jobs.AttemptSucceeded; stands != tc.stands {
				t.Errorf("its outcome stands: %v", stands)
			}
		})
	}
}

// Rule 11: an unanswered claim is looked up.
func TestUnansweredClaimIsFound(t *testing.T) {
	c := dial(t)
	a := lone(t, c, true)
	seq, err := c.Append(t.Context(), "r1", "m", 0, a.claimRecord())
	if err != nil {
		t.Fatal(err)
	}
	if v := a.claimFirst(t.Context()); v != start || a.claimed.Load() != seq {
		t.Errorf("verdict %v, claim %d; want %d", v, a.claimed.Load(), seq)
	}
}

// Rule 12: under a lease that has lapsed since the claim was sent nothing
// starts, also when it is live again.
func TestGapSinceTheClaimMakesItLost(t *testing.T) {
	c := dial(t)
	a := lone(t, c, true)
	if v := a.claimFirst(t.Context()); v != start {
		t.Fatal("not claimed")
	}
	later := time.Now().Add(2 * time.Minute)
	if _, live := a.s.lease.state(later); live {
		t.Fatal("it does not lapse")
	}
	a.s.lease.renew(later, later)
	e, _, err := a.execute(t.Context())
	if err != nil || e.status != jobs.AttemptLost || !e.started.IsZero() {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestLease(t *testing.T) {
	t0 := time.Unix(1000, 0)
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	l := newLease(3 * time.Second) // 2.5 s
	if _, live := l.state(t0); live {
		t.Error("live before it began")
	}
	l.renew(at(0), at(100))
	gaps, live := l.state(at(2499))
	if !live || !l.unbroken(gaps, at(2499)) {
		t.Error("not live in its time")
	}
	if _, live := l.state(at(2500)); live {
		t.Error("it counts from the acknowledgement, not from when the heartbeat was sent")
	}
	if !l.renew(at(2600), at(2700)) {
		t.Error("the gap was not seen")
	}
	if l.unbroken(gaps, at(2700)) {
		t.Error("unbroken over a gap")
	}
	gaps, _ = l.state(at(2700))
	if gap := l.renew(at(6000), at(6010)); !gap || l.unbroken(gaps, at(6010)) {
		t.Error("a gap that nobody was awake to see is none")
	}
	l.renew(at(5000), at(6020)) // a late answer to an older heartbeat
	if until, _ := l.next(); !until.Equal(at(8500)) {
		t.Errorf("until %v", until)
	}
	if l.renew(at(9000), at(20000)); l.unbroken(gaps, at(20000)) {
		t.Error("an acknowledgement that comes too late renews nothing")
	}
}

// A worker that is killed leaves nothing running: the guard sees its pipe end.
func TestGuard(t *testing.T) {
	g, err := newGuard()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan ending, 1)
	c := &command{job: script("echo up; sleep 300"), workspace: t.TempDir(), environ: []string{"PATH=/usr/bin:/bin"}, guard: g}
	out := &written{}
	up := make(chan struct{})
	out.on = func(string) { close(up) }
	go func() { done <- c.run(newStopper(), out) }()
	<-up
	g.begun(999999999)
	g.ended(999999999)
	g.close() // as when the worker dies
	if e := <-done; *e.exitCode != 137 {
		t.Errorf("%+v", e)
	}
}
