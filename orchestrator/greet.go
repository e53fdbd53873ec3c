package orchestrator

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// greetAgain is the time between two greetings of one worker. A greeting may be lost.
const greetAgain = time.Second

// greeter knows the workers in the registry, and gives each the key by which it
// recognises messages of orchestrators. One goroutine uses it.
type greeter struct {
	conn  *broker.Conn
	mute  bool // another part of this process greets
	known map[string]*acquaintance
}

// acquaintance is one start of a worker.
type acquaintance struct {
	worker  jobs.WorkerInfo
	greeted time.Time // when it was greeted last
}

func newGreeter(c *broker.Conn, mute bool) *greeter {
	return &greeter{conn: c, mute: mute, known: map[string]*acquaintance{}}
}

// change applies a change of the registry, and greets a worker that does not know the
// signing key of this orchestrator.
func (g *greeter) change(ch kv.Change) {
	switch {
	case ch.Began, ch.Synced, ch.Beat:
	case ch.Gone:
		delete(g.known, ch.Worker.Name)
	default:
		a := g.known[ch.Worker.Name]
		if a == nil || a.worker.Incarnation != ch.Worker.Incarnation {
			a = &acquaintance{}
			g.known[ch.Worker.Name] = a
		}
		a.worker = jobs.WorkerInfo{Name: ch.Worker.Name, Incarnation: ch.Worker.Incarnation, Box: ch.Worker.Box, Greeted: ch.Worker.Greeted}
		g.greet(a)
	}
}

func (g *greeter) greet(a *acquaintance) {
	if g.mute || !g.conn.Control.Greets(&a.worker) || time.Since(a.greeted) < greetAgain {
		return
	}
	a.greeted = time.Now()
	if err := g.conn.Control.Greet(&a.worker); err != nil {
		g.conn.Logger().Debug("greeting a worker failed; it is repeated", "worker", a.worker.Name, "error", err)
	}
}

// probe asks a worker whether it still runs an attempt that it has claimed. key is that
// of the attempt.
func (g *greeter) probe(worker string, p jobs.Probe, key signing.Key) error {
	a := g.known[worker]
	if a == nil || a.worker.Incarnation != p.Incarnation {
		return nil // it is gone, or not known yet
	}
	return g.conn.Control.Probe(&a.worker, p, key)
}

// greetWorkers greets the workers of this NATS until ctx ends, also while no run needs
// them: they may be asked to drain.
func (s *server) greetWorkers(ctx context.Context) error {
	registry, err := kv.OpenRegistry(ctx, s.broker.Conn, s.cfg.WorkerTTL)
	if err != nil {
		return fmt.Errorf("open the registry of workers: %w", err)
	}
	changes := make(chan kv.Change, changesBuffered)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return registry.Watch(ctx, changes) })
	g.Go(func() error {
		greeter := newGreeter(s.broker, false)
		for {
			select {
			case ch := <-changes:
				greeter.change(ch)
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
	return g.Wait()
}
