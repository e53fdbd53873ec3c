package orchestrator_test

import (
	"context"
	"errors"
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
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// BenchmarkHits runs modules of which each has a cached result. The floor is one
// read of each entry, by as many readers as a run has.
func BenchmarkHits(b *testing.B) {
	const modules = 10_000
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := natstest.StartServer(b, nil)
	conn, err := broker.Connect(ctx, broker.Config{URL: s.URL(), Options: s.Options(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	p := &pipeline.Pipeline{Name: "bench", Families: map[string][]int{}}
	for i := range modules {
		name := fmt.Sprint("m", i)
		p.Modules = append(p.Modules, &pipeline.Module{
			Name: name, Token: name, Slots: 1, Command: &pipeline.Command{Args: []pipeline.Text{{{Literal: "true"}}}},
			Cache:  &pipeline.Cache{Portable: true, Key: []pipeline.Text{{{Literal: name}}}},
			Policy: pipeline.Policy{QueueTimeout: time.Minute, MaxLosses: 3, Retry: pipeline.Retry{Attempts: 1}},
		})
	}
	var g errgroup.Group
	g.Go(func() error { return commitAll(ctx, conn) })
	once := func(id jobs.RunID) {
		if err := client.New(conn).Submit(ctx, &jobs.Spec{Run: id, Pipeline: p}); err != nil {
			b.Fatal(err)
		}
		if _, err := orchestrator.Run(ctx, conn, id, orchestrator.Config{}); err != nil {
			b.Fatal(err)
		}
	}
	once("first")
	run := 0
	for b.Loop() {
		run++
		once(jobs.RunID(fmt.Sprint("r", run)))
	}
	hits := b.Elapsed()
	b.ReportMetric(float64(hits.Microseconds())/float64(run*modules), "µs/module")
	b.ReportMetric(hits.Seconds()/float64(run)/floorOfHits(ctx, b, conn, modules).Seconds(), "×floor")
	rep, err := client.New(conn).Show(ctx, "r1")
	if err != nil || rep.Modules[0].Status != report.Cached {
		b.Fatalf("%v, the first module: %+v", err, rep.Modules[0])
	}
	cancel()
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		b.Fatal(err)
	}
}

// floorOfHits reads so many entries, 64 at a time.
func floorOfHits(ctx context.Context, b *testing.B, conn *broker.Conn, n int) time.Duration {
	b.Helper()
	cache, err := kv.OpenCache(ctx, conn.Conn)
	if err != nil {
		b.Fatal(err)
	}
	entries, err := cache.List(ctx, "*")
	if err != nil || len(entries) < n {
		b.Fatalf("%d entries, %v", len(entries), err)
	}
	began := time.Now()
	var g errgroup.Group
	g.SetLimit(64)
	for _, e := range entries {
		g.Go(func() error {
			_, err := cache.Read(ctx, e.Namespace, e.Fingerprint)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}
