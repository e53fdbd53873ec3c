package broker_test

import (
	"context"
	"errors"
	"testing"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/puller"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

func job(token string) *jobs.Job {
	return &jobs.Job{Run: "r", Lane: "any", Module: jobs.ModuleID(token), Name: token, Attempt: 1, Slots: 1}
}

func publish(t testing.TB, ctx context.Context, c *broker.Conn, list ...*jobs.Job) {
	t.Helper()
	done := make(chan error, len(list))
	for _, j := range list {
		c.Queue.Publish(ctx, j, func(err error) { done <- err })
	}
	for range list {
		natstest.Check(t, <-done)
	}
}

// pull delivers jobs of a lane, at most this many, until the test ends.
func pull(t testing.TB, c *broker.Conn, lane jobs.Lane, slots int) <-chan *puller.Delivery {
	t.Helper()
	out := make(chan *puller.Delivery, slots)
	p := puller.New(c.Conn, c.Queue, slots, func(d *puller.Delivery) {
		select {
		case out <- d:
		default:
			t.Errorf("more than %d jobs are delivered", slots)
		}
	})
	p.Serve(lane, 1)
	natstest.Background(t, p.Run)
	return out
}

func TestPurgedJobsLeaveTheQueue(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	queued := func(moduleID jobs.ModuleID) bool {
		return natstest.Must[bool](t)(c.Queue.Has(ctx, "any", "r", jobs.AttemptID{Module: moduleID, Attempt: 1}))
	}
	publish(t, ctx, c, job("a"), job("b"), job("c"))
	if !queued("a") || queued("z") {
		t.Error("a is queued, z is not")
	}
	done := make(chan error, 1)
	c.Queue.Publish(ctx, job("a"), func(err error) { done <- err })
	if err := <-done; !errors.Is(err, broker.ErrConflict) {
		t.Errorf("a second copy: %v", err)
	}
	natstest.Check(t, c.Queue.Purge(ctx, "any", "r", jobs.AttemptID{Module: "a", Attempt: 1}))
	if queued("a") || !queued("b") {
		t.Error("a alone is purged")
	}
	natstest.Check(t, c.Queue.PurgeRun(ctx, "r"))
	if queued("b") || queued("c") {
		t.Error("all of the run are purged")
	}
}
