package bell

import (
	"testing"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

func TestStretchesOfALaneAreBounded(t *testing.T) {
	var c Chime[jobs.Rank]
	for i := range uint64(10_000) {
		c.Ring(i+1, jobs.Rank{Priority: pipeline.Priority(i % 3), Slots: 8})
	}
	var w Waiting[jobs.Rank]
	if n := c.Take(&w); n != 10_000 {
		t.Errorf("%d jobs were announced, want 10000", n)
	}
	if len(w.list) > mostStretches {
		t.Errorf("%d stretches are kept, at most %d should be", len(w.list), mostStretches)
	}
	if last := w.list[len(w.list)-1]; last.last != 10_000 || last.rank.Priority != pipeline.Critical {
		t.Errorf("the last stretch is %+v; it should reach the newest job and have the best priority", last)
	}
}
