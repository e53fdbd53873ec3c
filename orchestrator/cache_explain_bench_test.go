package orchestrator_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/test/natstest"
)

// BenchmarkExplain explains an executed module among 100,000 entries.
func BenchmarkExplain(b *testing.B) {
	const entries = 100_000
	ctx := b.Context()
	s := natstest.StartServer(b, nil)
	conn, err := broker.Connect(ctx, broker.Config{URL: s.URL(), Options: s.Options(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	cache, err := kv.OpenCache(ctx, conn.Conn)
	if err != nil {
		b.Fatal(err)
	}
	var g errgroup.Group
	g.SetLimit(256)
	for i := range entries {
		g.Go(func() error {
			return cache.Store(ctx, "main", &jobs.CacheEntry{Fingerprint: fmt.Sprintf("%064x", i), Module: "m", When: time.Unix(1, 0)})
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	p := &pipeline.Pipeline{Name: "bench", Families: map[string][]int{}, Modules: []*pipeline.Module{{
		Name: "m", Token: "m", Slots: 1, Command: &pipeline.Command{Args: []pipeline.Text{{{Literal: "true"}}}},
		Cache:  &pipeline.Cache{Portable: true},
		Policy: pipeline.Policy{QueueTimeout: time.Minute, MaxLosses: 3, Retry: pipeline.Retry{Attempts: 1}},
	}}}
	var workers errgroup.Group
	workers.Go(func() error { return commitAll(ctx, conn) }) // until the benchmark ends
	for _, id := range []jobs.RunID{"r1", "r2"} {
		if err := client.New(conn).Submit(ctx, &jobs.Spec{Run: id, Pipeline: p}); err != nil {
			b.Fatal(err)
		}
		if _, err := orchestrator.Run(ctx, conn, id, orchestrator.Config{}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		use, err := client.New(conn).ExplainCache(ctx, "r1", "m")
		if err != nil || use.Entry == nil {
			b.Fatalf("%+v, %v", use, err)
		}
	}
}
