package kv_test

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/test/natstest"
)

// words returns words that do not compress.
func words(n int) (words []string) {
	for range n {
		words = append(words, rand.Text()+rand.Text()+rand.Text()[:12]) // 64 characters, as long as a name may be
	}
	return words
}

// TestLongestEntriesFitIntoOneMessage uses the smallest server, and the longest lists
// of all buckets.
func TestLongestEntriesFitIntoOneMessage(t *testing.T) {
	t.Parallel()
	ctx := natstest.Within(t)
	s := natstest.StartServer(t, func(o *server.Options) { o.MaxPayload = jetstream.LeastPayload })
	c := connect(t, s)
	const most = 500 // attempts of a worker, and holders of a limit

	t.Run("worker", func(t *testing.T) {
		w := jobs.WorkerInfo{Name: "w", Incarnation: "i"}
		for _, x := range words(most) {
			w.Running = append(w.Running, jobs.RunningEntry{Run: jobs.RunID(x), Module: jobs.ModuleID(words(1)[0]), Attempt: 1})
		}
		w.Capabilities.Tags = words(200)
		registry, err := kv.OpenRegistry(ctx, c.Conn, 0)
		check(t, err)
		check(t, registry.Register(ctx, w))
		list, err := registry.List(ctx)
		check(t, err)
		if len(list) != 1 || len(list[0].Running) != most {
			t.Errorf("the registry lists %d workers", len(list))
		}
		w.Capabilities.Tags = words(5000)
		if err := registry.Beat(ctx, w); !errors.Is(err, broker.ErrTooLarge) {
			t.Errorf("a value that is too large: %v", err)
		}
	})
	t.Run("limit", func(t *testing.T) {
		locks, err := kv.OpenLocks(ctx, c.Conn)
		check(t, err)
		lock := jobs.Lock{Name: "l", Limit: true, Max: most}
		entry := jobs.LockEntry{Name: "l", Limit: true}
		for _, x := range words(most) {
			entry.Holders = append(entry.Holders, jobs.Holder{Run: jobs.RunID(x), Module: jobs.ModuleID(words(1)[0]), Attempt: 1, Epoch: 1})
		}
		if ok, err := locks.Write(ctx, lock, entry, 0); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if got, err := locks.Holders(ctx, lock); len(got) != most || err != nil {
			t.Errorf("%d holders, %v", len(got), err)
		}
	})
	t.Run("durations", func(t *testing.T) {
		stats, err := kv.OpenStats(ctx, c.Conn)
		check(t, err)
		took := map[string]time.Duration{}
		var longest string
		for i, x := range words(9000) {
			took[x], longest = time.Duration(i)*time.Second, x
		}
		check(t, stats.Add(ctx, "p", took))
		d, err := stats.Durations(ctx, "p")
		check(t, err)
		if len(d.Took) < 1000 || d.Took[longest] != took[longest] {
			t.Errorf("%d are known, the longest as %v", len(d.Took), d.Took[longest])
		}
	})
	t.Run("lane", func(t *testing.T) {
		lanes, err := kv.OpenLanes(ctx, c.Conn)
		check(t, err)
		_, err = lanes.Put(ctx, "h_1", jobs.LaneSet{Requires: pipeline.Requirements{Tags: words(1000)}, Slots: 1})
		check(t, err)
		_, err = lanes.Put(ctx, "h_2", jobs.LaneSet{Requires: pipeline.Requirements{Tags: words(5000)}, Slots: 1})
		if !errors.Is(err, broker.ErrTooLarge) {
			t.Errorf("a value that is too large: %v", err)
		}
	})
}
