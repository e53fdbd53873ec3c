package schedule_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// forge writes a record into a cell that is not signed with the key of its attempt.
func (p *player) forge(cell jobs.ModuleID, rec jobs.Record) uint64 {
	p.t.Helper()
	p.seq++
	p.last[string(cell)] = p.seq
	if err := p.run.Apply(jobs.Entry{Sequence: p.seq, Time: p.now, Cell: cell, Record: rec, Auth: jobs.Forged}); err != nil {
		p.t.Fatal(err)
	}
	return p.seq
}

// TestForgedRecordsAreRejectedBeforeTheEnd: forged claims and outcomes that would
// fit do not count, but they are the last records of their cells. The run ends after
// all of them are rejected.
func TestForgedRecordsAreRejectedBeforeTheEnd(t *testing.T) {
	p := newPlayer(t, "name: p\nmodules: {a: {command: [\"true\"]}, b: {command: [\"true\"], needs: [a]}}", failing("a"))
	var forged, rejected []uint64
	p.before = func(p *player, round int) {
		if round > 3 {
			return
		}
		forged = append(forged, p.forge("a", jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded}}))
		forged = append(forged, p.forge("b", jobs.Record{Claim: &jobs.Claim{Attempt: 1, Worker: "w"}}))
		if !p.run.Skipped() {
			t.Error("a forged claim counts")
		}
	}
	p.others = func(a schedule.Action) bool {
		switch a := a.(type) {
		case schedule.Write:
			if a.Record.Rejected != nil {
				rejected = append(rejected, a.Record.Rejected.Sequences...)
			}
		case schedule.Finish:
			if left := p.run.Forged(); len(left) > 0 {
				t.Errorf("the run ends before %v are rejected", left)
			}
		}
		return false
	}
	rep := p.play(1)
	if rep.Status != report.RunFailed {
		t.Errorf("the run has %s, want failed", rep.Status)
	}
	if len(forged) == 0 || !slices.Equal(rejected, forged) {
		t.Errorf("rejected %v, want %v", rejected, forged)
	}
}

// TestThreeForgedRecordsAreAnAttack: the first one of a cell is told of, and the third
// one, which is no accident any more.
func TestThreeForgedRecordsAreAnAttack(t *testing.T) {
	p := newPlayer(t, one, ok)
	var told []int
	for range 10 {
		p.forge("a", jobs.Record{Claim: &jobs.Claim{Attempt: 1, Worker: "w"}})
		for _, n := range p.run.Noise() {
			told = append(told, n.Records)
			if n.Attack() != (n.Records == 3) {
				t.Errorf("after %d records: attack %v", n.Records, n.Attack())
			}
		}
	}
	if !slices.Equal(told, []int{1, 3}) {
		t.Errorf("told after %v records of the cell, want 1 and 3", told)
	}
}

// TestRefusedRunRejectsForgedRecordsFirst: a run that ends before it has begun is no
// exception.
func TestRefusedRunRejectsForgedRecordsFirst(t *testing.T) {
	p := newPlayer(t, one, ok)
	seq := p.forge("a", jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded}})
	d := schedule.NewDispatcher(p.run, p.fleet(1))
	d.Refuse("a secret is missing")
	actions, _ := d.Decide(p.now)
	if w, is := actions[0].(schedule.Write); len(actions) != 1 || !is || w.Record.Rejected == nil {
		t.Fatalf("it decides %v, want the rejection of %d", actions, seq)
	}
	p.write("ctl", "", actions[0].(schedule.Write).Record)
	actions, _ = d.Decide(p.now)
	if _, is := actions[0].(schedule.Finish); len(actions) != 1 || !is {
		t.Fatalf("it decides %v, want the end", actions)
	}
}

// TestRejectionsDoNotBindWhoHasTheKey: a rejection of a record that verifies changes
// nothing.
func TestRejectionsDoNotBindWhoHasTheKey(t *testing.T) {
	entries := []jobs.Entry{
		{Sequence: 1, Record: jobs.Record{Spec: &jobs.Spec{Run: "r", Pipeline: parse(t, one)}}},
		{Sequence: 2, Record: jobs.Record{Takeover: &jobs.Takeover{Epoch: 1, Key: "k"}}},
		{Sequence: 3, Cell: "a", Record: jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded}}, Auth: jobs.Verified},
		{Sequence: 4, Record: jobs.Record{Rejected: &jobs.Rejected{Sequences: []uint64{3}}}},
	}
	run, err := schedule.Load(entries, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := run.StatusOf("a"); s != report.Succeeded {
		t.Errorf("a is %s, want succeeded", s)
	}
	if run.Key() != "k" {
		t.Errorf("the run is signed by %q, want k", run.Key())
	}
}

// believed is a log as a reader without the key sees it: the forged outcome at 3 is
// believed, and what follows does not fit it.
func believed(t *testing.T) []jobs.Entry {
	t.Helper()
	p := parse(t, "name: p\nmodules:\n  f: {command: [\"true\"]}\n  a: {command: [\"true\"], needs: [f]}")
	return []jobs.Entry{
		{Sequence: 1, Record: jobs.Record{Spec: &jobs.Spec{Run: "r", Pipeline: p}}},
		{Sequence: 2, Record: jobs.Record{Takeover: &jobs.Takeover{Epoch: 1, Key: "k"}}},
		{Sequence: 3, Cell: "f", Record: jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded}}},
		{Sequence: 4, Record: jobs.Record{Grant: &jobs.Grant{Attempts: []jobs.AttemptID{{Module: "none", Attempt: 1}}}}},
	}
}

// TestReaderWithoutTheKeyDoubtsBeforeItSaysCorrupt: what does not fit may be the
// consequence of a forged record until the run has ended.
func TestReaderWithoutTheKeyDoubtsBeforeItSaysCorrupt(t *testing.T) {
	run, err := schedule.Load(believed(t), nil)
	if err != nil {
		t.Fatalf("a reader without the key: %v", err)
	}
	if !run.Provisional() || run.StatusOf("a") != report.Ready {
		t.Errorf("provisional: %v; a is %s, want ready", run.Provisional(), run.StatusOf("a"))
	}
	if err := run.Apply(jobs.Entry{Sequence: 5, Record: jobs.Record{End: &jobs.End{Status: report.RunFailed}}}); !errors.Is(err, schedule.ErrCorrupt) {
		t.Errorf("after the end: %v, want ErrCorrupt", err)
	}
	verified := believed(t)
	verified[2].Auth = jobs.Verified
	if _, err := schedule.Load(verified, nil); !errors.Is(err, schedule.ErrCorrupt) {
		t.Errorf("a reader with the key: %v, want ErrCorrupt", err)
	}
}

// TestNothingIsDecidedWithoutTheKey: not even the question of a worker is answered.
func TestNothingIsDecidedWithoutTheKey(t *testing.T) {
	p := newPlayer(t, one, ok)
	p.write("ctl", "", jobs.Record{Takeover: &jobs.Takeover{Epoch: 2, Key: "k"}})
	p.write("a", "a", jobs.Record{Claim: &jobs.Claim{Attempt: 1, Worker: "w", Incarnation: "w", Nonce: "n"}})
	d := schedule.NewDispatcher(p.run, p.fleet(1))
	if actions, _ := d.Decide(p.now.Add(time.Hour)); len(actions) > 0 {
		t.Errorf("it decides %v", actions)
	}
	if a, ok := d.Answer(&jobs.Question{Module: "a", Attempt: 1, Nonce: "n", Worker: "w"}, p.now); ok {
		t.Errorf("it answers %v", a)
	}
	if c, may := p.run.Reclaim(jobs.AttemptID{Module: "a", Attempt: 1}, p.fleet(0), p.now.Add(time.Hour)); may {
		t.Errorf("it closes %v", c)
	}
}

// TestRecordsBeforeTheFirstTakeoverAreNoise: no attempt has begun yet.
func TestRecordsBeforeTheFirstTakeoverAreNoise(t *testing.T) {
	run, err := schedule.Load([]jobs.Entry{
		{Sequence: 1, Record: jobs.Record{Spec: &jobs.Spec{Run: "r", Pipeline: parse(t, one)}}},
		{Sequence: 2, Cell: "a", Record: jobs.Record{Claim: &jobs.Claim{Attempt: 1, Worker: "w"}}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := run.StatusOf("a"); s != report.Ready || !run.Skipped() {
		t.Errorf("a is %s, want ready: a claim before the first takeover is noise", s)
	}
}
