package kv_test

import (
	"context"
	"testing"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestLaneFollowSendsWrittenLanes: those that stand, those that are written later, and
// revisions up to which all lanes were sent.
func TestLaneFollowSendsWrittenLanes(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	l, err := kv.OpenLanes(ctx, c.Conn)
	check(t, err)
	put := func(lane jobs.Lane, slots int) uint64 {
		t.Helper()
		revision, err := l.Put(ctx, lane, jobs.LaneSet{Slots: slots})
		check(t, err)
		return revision
	}
	put("a", 1)
	put("b", 1)
	joined, err := kv.JoinLanes(ctx, c.Conn)
	check(t, err)
	changes := make(chan kv.LaneChange, 100)
	natstest.Background(t, func(ctx context.Context) error { return joined.Follow(ctx, changes) })
	slots, seen := map[jobs.Lane]int{}, uint64(0)
	until := func(revision uint64, want map[jobs.Lane]int) {
		t.Helper()
		for seen < revision {
			c := natstest.Receive(t, ctx, changes)
			if c.Began {
				slots, seen = map[jobs.Lane]int{}, 0
			}
			if c.Lane != "" {
				slots[c.Lane] = c.Set.Slots
			}
			seen = max(seen, c.Revision)
		}
		if len(slots) != len(want) {
			t.Fatalf("%v, not %v", slots, want)
		}
		for lane, n := range want {
			if slots[lane] != n {
				t.Fatalf("%v, not %v", slots, want)
			}
		}
	}
	until(2, map[jobs.Lane]int{"a": 1, "b": 1})
	last := uint64(0)
	for i := range 20 { // at once: several writes of a lane, too
		last = put(jobs.Lane([]string{"a", "c", "d"}[i%3]), 2+i)
	}
	until(last, map[jobs.Lane]int{"a": 20, "b": 1, "c": 21, "d": 19})
	began := time.Now()
	until(put("e", 1), map[jobs.Lane]int{"a": 20, "b": 1, "c": 21, "d": 19, "e": 1})
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("a written lane was sent after %v: by the scan of the minute", took)
	}
}
