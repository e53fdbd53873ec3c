package jobs_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

func TestRankOrdersByPriorityThenByScarcity(t *testing.T) {
	inOrder := []jobs.Rank{
		{Priority: pipeline.Critical},
		{Priority: pipeline.High, Slots: 1},
		{Priority: pipeline.High, Slots: 2},
		{Slots: 2},
		{Slots: 64},
		{},
		{Priority: pipeline.Low, Slots: 1},
	}
	for i := range inOrder {
		for k := range inOrder {
			got := inOrder[i].Compare(inOrder[k])
			if (got < 0) != (i < k) || (got == 0) != (i == k) {
				t.Errorf("%v beside %v: Compare is %d", inOrder[i], inOrder[k], got)
			}
		}
	}
}

func TestRankSurvivesTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := jobs.Rank{
			Priority: pipeline.Priority(rapid.IntRange(int(pipeline.Low), int(pipeline.Critical)).Draw(t, "priority")),
			Slots:    rapid.IntRange(0, 1<<20).Draw(t, "slots"),
		}
		if got := jobs.ParseRank(r.String()); got != r {
			t.Fatalf("%v arrives as %v", r, got)
		}
	})
}

func TestRankOfForeignTextIsTheZeroRank(t *testing.T) {
	for _, s := range []string{"", "1", "1/", "/1", "9/1", "-2/1", "1/-1", "high/4", "1/2/3"} {
		if got := jobs.ParseRank(s); got != (jobs.Rank{}) {
			t.Errorf("%q is read as %v", s, got)
		}
	}
}
