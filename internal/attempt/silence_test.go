package attempt

import (
	"testing"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

func TestSilenceLastsAWhileOrUntilAnAnswer(t *testing.T) {
	const lasts = time.Minute
	now := time.Unix(0, 0)
	var s silence
	if s.holds("r", now, lasts) {
		t.Error("a run that was never asked about is silent")
	}
	s.note("r", now, lasts)
	if !s.holds("r", now.Add(lasts-1), lasts) || s.holds("r", now.Add(lasts), lasts) || s.holds("other", now, lasts) {
		t.Error("the silence of one run does not last exactly a minute")
	}
	s.end("r")
	if s.holds("r", now, lasts) {
		t.Error("a run whose orchestrator has answered is silent")
	}
}

func TestSilenceForgetsOldRuns(t *testing.T) {
	var s silence
	for i, run := range []string{"a", "b", "c"} {
		s.note(jobs.RunID(run), time.Unix(int64(i), 0), time.Minute)
	}
	s.note("new", time.Unix(1000, 0), time.Minute)
	if len(s.since) != 1 {
		t.Errorf("%d runs are remembered, want the new one only", len(s.since))
	}
}
