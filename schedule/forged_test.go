package schedule_test

import (
	"slices"
	"testing"

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
