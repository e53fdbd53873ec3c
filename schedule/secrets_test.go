package schedule_test

import (
	"slices"
	"testing"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

const withSecret = "name: p\nmodules: {a: {command: [\"true\"], secrets: [B, A, {C: {name: A}}], retry: {attempts: 2, delay: 0}}, z: {needs: [a], command: [\"true\"]}}"

// claimedOf plays a run until a worker has claimed the first attempt of a.
func claimedOf(t *testing.T, src, xkey string) (p *player, next func() (delivered []schedule.Deliver, released []*jobs.Released)) {
	t.Helper()
	p = newPlayer(t, src, ok)
	p.d = schedule.NewDispatcher(p.run, p.fleet(1))
	next = func() (delivered []schedule.Deliver, released []*jobs.Released) {
		actions, _ := p.d.Decide(p.now)
		for _, a := range actions {
			switch a := a.(type) {
			case schedule.Deliver:
				delivered = append(delivered, a)
			case schedule.Write:
				if a.Record.Released != nil {
					released = append(released, a.Record.Released)
				}
				p.write("ctl", "", a.Record)
			default:
				p.perform(a)
			}
		}
		return delivered, released
	}
	for range 5 {
		next()
	}
	if len(p.queue) != 1 {
		t.Fatalf("%d jobs are published, want that of a", len(p.queue))
	}
	p.claim(xkey)
	return p, next
}

func (p *player) claim(xkey string) {
	job := p.queue[0]
	p.queue = nil
	p.write("a", "a", jobs.Record{Claim: &jobs.Claim{Attempt: job.Attempt, Worker: "w", Incarnation: "w", Nonce: "n" + string('0'+rune(job.Attempt)), Started: p.now, XKey: xkey}})
}

func TestSecretsAreReleasedBeforeTheyAreSent(t *testing.T) {
	p, next := claimedOf(t, withSecret, "XA")
	if job := p.jobs["a"]; job != nil && (!job.ClaimFirst || len(job.Secrets) != 3) {
		t.Errorf("the job %+v does not claim before it starts", job)
	}
	id := jobs.AttemptID{Module: "a", Attempt: 1}
	delivered, released := next()
	if len(delivered) != 1 || delivered[0].Released || delivered[0].ID != id || delivered[0].Claim.XKey != "XA" || len(released) > 0 {
		t.Fatalf("delivered %+v, released %v: want one without a release", delivered, released)
	}
	p.d.Release(id, "another nonce")
	p.d.Release(jobs.AttemptID{Module: "a", Attempt: 2}, "n1")
	if _, released := next(); len(released) > 0 {
		t.Fatalf("released %v to who has not claimed", released)
	}
	p.d.Release(id, "n1")
	p.d.Release(id, "n1")
	p.now = p.now.Add(time.Second)
	_, released = next()
	if len(released) != 1 || released[0].Worker != "w" || released[0].Attempt != 1 || !slices.Equal(released[0].Names, []string{"A", "B"}) {
		t.Fatalf("released %+v, want A and B once", released)
	}
	if delivered, _ = next(); len(delivered) != 1 || !delivered[0].Released || delivered[0].Tries != 0 {
		t.Fatalf("delivered %+v, want one with its release", delivered)
	}
	var names []string
	for _, e := range p.events {
		if e.Event == report.EventSecretReleased {
			names = append(names, e.Module+" "+e.Worker+" "+e.Secret)
		}
	}
	if !slices.Equal(names, []string{"a w A", "a w B"}) {
		t.Errorf("events of %q", names)
	}
	rep, err := p.run.Report(nil)
	if err != nil || !slices.Equal(rep.Modules[0].Attempts[0].Secrets, []string{"A", "B"}) {
		t.Errorf("%+v, %v", rep.Modules[0].Attempts, err)
	}
}

// A delivery is repeated, more and more rarely, until the worker confirms it. An
// attempt of its own is released again.
func TestADeliveryIsRepeatedUntilItIsConfirmed(t *testing.T) {
	p, next := claimedOf(t, withSecret, "XA")
	id := jobs.AttemptID{Module: "a", Attempt: 1}
	next()
	p.d.Release(id, "n1")
	p.now = p.now.Add(time.Second)
	next()
	var at []time.Duration
	begun := p.now
	for p.now.Before(begun.Add(time.Minute)) {
		if delivered, _ := next(); len(delivered) > 0 {
			at = append(at, p.now.Sub(begun))
		}
		p.now = p.now.Add(100 * time.Millisecond)
	}
	want := []time.Duration{0, 200, 600, 1400, 3000, 6200, 12600, 22600, 32600, 42600, 52600}
	for i := range want {
		want[i] *= time.Millisecond
	}
	if !slices.Equal(at, want) {
		t.Errorf("delivered at %v, want %v", at, want)
	}
	p.d.Confirmed(id, "another nonce")
	p.now = p.now.Add(time.Minute)
	if delivered, _ := next(); len(delivered) == 0 {
		t.Error("the confirmation of another worker counts")
	}
	p.d.Confirmed(id, "n1")
	p.now = p.now.Add(time.Minute)
	if delivered, _ := next(); len(delivered) > 0 {
		t.Error("it is repeated after the confirmation")
	}
	p.write("a", "a", jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptFailed, Worker: "w", Nonce: "n1", Started: p.now, Finished: p.now}})
	for range 5 {
		next()
	}
	p.claim("XB")
	if delivered, _ := next(); len(delivered) != 1 || delivered[0].Released || delivered[0].Claim.XKey != "XB" {
		t.Errorf("the second attempt: %+v", delivered)
	}
}

// A new orchestrator does not know whether the secrets have arrived. It sends them
// again, and releases nothing again.
func TestATakeoverDeliversAgain(t *testing.T) {
	p, next := claimedOf(t, withSecret, "XA")
	id := jobs.AttemptID{Module: "a", Attempt: 1}
	next()
	p.d.Release(id, "n1")
	p.now = p.now.Add(time.Second)
	next()
	p.write("ctl", "", jobs.Record{Takeover: &jobs.Takeover{Epoch: 2}})
	p.d = schedule.NewDispatcher(p.run, p.fleet(1))
	delivered, released := next()
	if len(delivered) != 1 || !delivered[0].Released || len(released) > 0 {
		t.Errorf("delivered %+v, released %v", delivered, released)
	}
	p.d.Release(id, "n1")
	if _, released := next(); len(released) > 0 {
		t.Errorf("released %v a second time", released)
	}
}

func TestACancelledAttemptGetsNoSecrets(t *testing.T) {
	p, next := claimedOf(t, withSecret, "XA")
	p.write("cancel", "", jobs.Record{Cancel: &jobs.Cancel{ID: "c", By: "me"}})
	if delivered, _ := next(); len(delivered) > 0 {
		t.Errorf("delivered %+v", delivered)
	}
}

func TestSecretsOfTheWorkerAreReleasedAndNotSent(t *testing.T) {
	p, next := claimedOf(t, "name: p\nmodules: {a: {command: [\"true\"], secrets: {A: {name: a, from: worker}}}}", "")
	var all []*jobs.Released
	for range 3 {
		delivered, released := next()
		if all = append(all, released...); len(delivered) > 0 {
			t.Errorf("delivered %+v", delivered)
		}
		p.now = p.now.Add(time.Second)
	}
	if len(all) != 1 || !slices.Equal(all[0].Names, []string{"a"}) {
		t.Errorf("released %+v", all)
	}
}

func TestAReleaseAfterTheEndOfItsAttemptChangesNothing(t *testing.T) {
	p, next := claimedOf(t, withSecret, "XA")
	p.write("a", "a", jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded, Worker: "w", Nonce: "n1", Started: p.now, Finished: p.now}})
	p.write("ctl", "", jobs.Record{Released: &jobs.Released{Module: "a", Attempt: 1, Worker: "w", Nonce: "n1", Names: []string{"A"}}})
	p.write("ctl", "", jobs.Record{Released: &jobs.Released{Module: "nothing", Attempt: 7, Names: []string{"A"}}})
	if delivered, _ := next(); len(delivered) > 0 {
		t.Errorf("delivered %+v", delivered)
	}
	if s := p.run.StatusOf("a"); s != report.Succeeded {
		t.Errorf("a is %s", s)
	}
}

func TestARefusedRunEndsBeforeItBegins(t *testing.T) {
	p := newPlayer(t, "name: p\nmodules: {a: {run: x}, always: {needs: [a], run: x, always-run: true}}", ok)
	p.d = schedule.NewDispatcher(p.run, p.fleet(1))
	p.d.Refuse("no secret")
	for range 3 {
		actions, wake := p.d.Decide(p.now)
		for _, a := range actions {
			f, ok := a.(schedule.Finish)
			if !ok {
				t.Fatalf("it decides %T", a)
			}
			p.write("end", "", jobs.Record{End: &f.End})
		}
		if !wake.IsZero() {
			t.Errorf("it wants to be asked again at %v", wake)
		}
	}
	rep, err := p.run.Report(nil)
	if err != nil || rep.Status != report.RunFailed || rep.Error != "no secret" {
		t.Fatalf("%+v, %v", rep, err)
	}
	for _, m := range rep.Modules {
		if m.Status != report.Cancelled || m.Reason != "the run did not begin" {
			t.Errorf("%s is %s: %s", m.Name, m.Status, m.Reason)
		}
	}
	if last := p.events[len(p.events)-1]; last.Event != report.EventRunEnded {
		t.Errorf("the last event is %s", last.Event)
	}
}
