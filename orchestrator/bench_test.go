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
	"github.com/modpipe/modpipe/internal/puller"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// The benchmarks run modules that do nothing, on a worker that commits a job as
// soon as it receives it. So they measure the engine and NATS. Compare with
// internal/puller's BenchmarkCycle, which measures the same durable cycle without an
// engine.

// BenchmarkFanOut runs independent modules.
func BenchmarkFanOut(b *testing.B) {
	benchmarkRun(b, 10_000, func(int) []pipeline.Need { return nil })
}

// BenchmarkChain runs modules each of which needs the one before.
func BenchmarkChain(b *testing.B) {
	benchmarkRun(b, 1000, func(i int) []pipeline.Need {
		if i == 0 {
			return nil
		}
		return []pipeline.Need{{Module: fmt.Sprint("m", i-1)}}
	})
}

// BenchmarkLayers runs layers of 100 modules. Every module needs all modules of
// the layer before.
func BenchmarkLayers(b *testing.B) {
	benchmarkRun(b, 3000, func(i int) []pipeline.Need {
		var needs []pipeline.Need
		for k := range 100 {
			if i >= 100 {
				needs = append(needs, pipeline.Need{Module: fmt.Sprint("m", i-i%100-100+k)})
			}
		}
		return needs
	})
}

func benchmarkRun(b *testing.B, modules int, needs func(int) []pipeline.Need) {
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
			Name: name, Token: name, Slots: 1, Needs: needs(i), Command: &pipeline.Command{Args: []pipeline.Text{{{Literal: "true"}}}},
			Policy: pipeline.Policy{QueueTimeout: time.Minute, MaxLosses: 3, Retry: pipeline.Retry{Attempts: 1}},
		})
	}
	var g errgroup.Group
	g.Go(func() error { return commitAll(ctx, conn) })
	run := 0
	for b.Loop() {
		run++
		id := jobs.RunID(fmt.Sprint("r", run))
		if err := client.New(conn).Submit(ctx, &jobs.Spec{Run: id, Pipeline: p}); err != nil {
			b.Fatal(err)
		}
		if _, err := orchestrator.Run(ctx, conn, id, orchestrator.Config{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(run*modules), "µs/module")
	cancel()
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		b.Fatal(err)
	}
}

// commitAll is a worker of 64 slots. It commits every job without running it.
func commitAll(ctx context.Context, conn *broker.Conn) error {
	registry, err := kv.OpenRegistry(ctx, conn.Conn, time.Minute)
	if err != nil {
		return err
	}
	w := jobs.WorkerInfo{Name: "w", Incarnation: "w", Slots: 64, LanesSeen: 1 << 40}
	if err := registry.Register(ctx, w); err != nil {
		return err
	}
	if err := conn.Queue.EnsureLane(ctx, "any"); err != nil {
		return err
	}
	var commits errgroup.Group
	commits.SetLimit(4 * w.Slots)
	var p *puller.Puller
	p = puller.New(conn.Conn, conn.Queue, w.Slots, func(d *puller.Delivery) {
		job := d.Job
		now := time.Now()
		rec := jobs.Record{Outcome: &jobs.Outcome{Attempt: job.Attempt, Status: report.AttemptSucceeded, Worker: "w", Started: now, Finished: now, Hermetic: true}}
		commits.Go(func() error {
			if _, err := conn.Runs.Append(ctx, job.Run, job.Module, job.Fence, rec); err == nil {
				_ = d.Ack() // a job that is delivered again is refused by its cell
			}
			return nil
		})
		p.Release(d.Slots)
	})
	p.Serve("any", 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.Run(ctx) })
	g.Go(func() error {
		tick := time.NewTicker(20 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
				if err := registry.Beat(ctx, w); err != nil {
					return err
				}
			}
		}
	})
	return g.Wait()
}
