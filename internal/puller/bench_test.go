package puller_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/puller"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// BenchmarkPuller drains a queue of no-op jobs.
func BenchmarkPuller(b *testing.B) {
	for _, lanes := range []int{1, 8} {
		for _, slots := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("lanes=%d/slots=%d", lanes, slots), func(b *testing.B) { benchmarkPuller(b, lanes, slots) })
		}
	}
}

func benchmarkPuller(b *testing.B, lanes, slots int) {
	s := natstest.StartServer(b, nil)
	c := connect(b, s)
	done := make(chan error, b.N+1)
	for i := range b.N {
		c.Queue.Publish(context.Background(), job(jobs.Lane(fmt.Sprint("lane", i%lanes)), fmt.Sprint("m", i)), func(err error) { done <- err })
	}
	for range b.N {
		natstest.Check(b, <-done)
	}
	worker := connect(b, s)
	for l := range lanes {
		natstest.Check(b, worker.Queue.EnsureLane(context.Background(), jobs.Lane(fmt.Sprint("lane", l))))
	}
	b.ResetTimer()
	w := newCrew(b, worker, slots)
	for l := range lanes {
		w.Serve(jobs.Lane(fmt.Sprint("lane", l)), 1)
	}
	for range b.N {
		w.end(b, <-w.got)
	}
}

// BenchmarkCycle is the floor of the whole project: publish a job, pull it,
// commit its outcome, acknowledge it, read the outcome. flight jobs are on
// their way at a time; one is a chain.
func BenchmarkCycle(b *testing.B) {
	for _, flight := range []int{1, 256} {
		b.Run(fmt.Sprintf("flight=%d", flight), func(b *testing.B) { benchmarkCycle(b, flight) })
	}
}

func benchmarkCycle(b *testing.B, flight int) {
	s := natstest.StartServer(b, nil)
	orchestrator, worker := connect(b, s), connect(b, s)
	w := newCycleWorker(worker, flight)
	natstest.Background(b, w.Run)
	natstest.Check(b, orchestrator.Queue.EnsureLane(context.Background(), "any"))
	w.Serve("any", 1)
	out := make(chan jobs.Entry, flight)
	natstest.Background(b, func(ctx context.Context) error { return orchestrator.Runs.Follow(ctx, "r", 0, out) })
	ctx := context.Background()
	publish := func(i int) {
		orchestrator.Queue.Publish(ctx, job("any", fmt.Sprint("m", i)), func(err error) {
			if err != nil {
				b.Error(err)
			}
		})
	}
	publish(-1)
	<-out // everything is set up
	b.ResetTimer()
	sent := 0
	for ; sent < min(flight, b.N); sent++ {
		publish(sent)
	}
	for range b.N {
		<-out
		if sent < b.N {
			publish(sent)
			sent++
		}
	}
}

// newCycleWorker commits every delivery on its own goroutine and acks it then.
func newCycleWorker(c *broker.Conn, slots int) *puller.Puller {
	var p *puller.Puller
	p = puller.New(c.Conn, c.Queue, slots, func(d *puller.Delivery) {
		go func() {
			if _, err := c.Runs.Append(context.Background(), "r", d.Job.Module, 0, outcome()); err == nil {
				_ = d.Ack() // lost with its connection: the benchmark is over
			}
			p.Release(d.Slots)
		}()
	})
	return p
}

func outcome() jobs.Record {
	return jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded}}
}
