package broker_test

import (
	"context"
	"errors"
	"testing"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestPinnedRequestsFailAfterAReconnect: a write under a pinned context is refused and not stored after a
// reconnect, also if it waits for the connection.
func TestPinnedRequestsFailAfterAReconnect(t *testing.T) {
	t.Parallel()
	s := natstest.StartServer(t, nil)
	c := connect(t, s)
	ctx := natstest.Within(t)
	first := c.Connection()
	pinned := c.Pin(ctx)
	natstest.Must[uint64](t)(c.Runs.Append(pinned, "r", "m", 0, claim()))
	again := c.Reconnected(ctx)
	s.Stop()
	waiting := make(chan error, 1)
	go func() {
		_, err := c.Runs.Append(pinned, "r", "n", 0, claim())
		waiting <- err
	}()
	s.Start(t)
	natstest.Receive(t, ctx, again)
	if c.Connection() <= first {
		t.Errorf("the connection after a reconnect is %d, and was %d", c.Connection(), first)
	}
	published := make(chan error, 1)
	c.Queue.Publish(pinned, job("m"), func(err error) { published <- err })
	_, last := c.Runs.Last(pinned, "r", "m")
	bucket := natstest.Must[*jetstream.Bucket](t)(c.OpenBucket(ctx, jetstream.BucketConfig{Name: "mp-test", Memory: true}))
	_, put := bucket.Put(pinned, "k", []byte("v"))
	for what, err := range map[string]error{"a waiting write": <-waiting, "a job": <-published, "a read": last, "an entry": put} {
		if !errors.Is(err, broker.ErrReconnected) {
			t.Errorf("%s on the next connection: %v", what, err)
		}
	}
	if _, err := c.Runs.Last(ctx, "r", "n"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("what was refused is stored: %v", err)
	}
	natstest.Must[uint64](t)(c.Runs.Append(c.Pin(context.WithoutCancel(ctx)), "r", "n", 0, claim()))
}
