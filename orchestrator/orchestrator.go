package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/schedule"
)

// Errors that callers branch on.
var (
	ErrExists     = errors.New("a run of this id exists already")
	ErrEnded      = errors.New("the run has ended")
	ErrSuperseded = errors.New("another orchestrator has taken the run over")
)

// Config configures an orchestrator.
type Config struct {
	Name   string       // of this orchestrator in takeovers; "" = host name and a random suffix
	Logger *slog.Logger // nil = discard
	// WorkerTTL is the time after which a silent worker is lost, where this
	// orchestrator is the first to make the registry; 0 = 3 s.
	WorkerTTL time.Duration
	Fleet     func(jobs.Event) // called from one goroutine with worker.joined and worker.lost; may be nil
}

// Run decides for a run until it has ended, and returns its verdict. When ctx
// ends it stops deciding and returns ctx's error; the run stays as it is. The
// error is ErrSuperseded when another orchestrator has taken the run over,
// broker.ErrNotFound when there is no such run, and schedule.ErrCorrupt when
// its log cannot be folded.
func Run(ctx context.Context, c *broker.Conn, run jobs.RunID, cfg Config) (jobs.End, error) {
	cfg = cfg.withDefaults()
	entries, err := c.ReadLog(ctx, run)
	if err != nil {
		return jobs.End{}, fmt.Errorf("read the log of run %s: %w", run, err)
	}
	state, err := schedule.Load(entries, nil)
	if err != nil {
		return jobs.End{}, fmt.Errorf("fold the log of run %s: %w", run, err)
	}
	if end := state.Ended(); end != nil {
		return *end, nil
	}
	registry, err := kv.OpenRegistry(ctx, c, cfg.WorkerTTL)
	if err != nil {
		return jobs.End{}, fmt.Errorf("open the registry of workers: %w", err)
	}
	lanes, err := kv.OpenLanes(ctx, c)
	if err != nil {
		return jobs.End{}, fmt.Errorf("open the bucket of lanes: %w", err)
	}
	stats, err := kv.OpenStats(ctx, c)
	if err != nil {
		return jobs.End{}, fmt.Errorf("open the bucket of durations: %w", err)
	}
	if known, err := stats.Durations(ctx, state.Spec().Pipeline.Name); err == nil {
		state.Estimate(known.Took)
	} else {
		cfg.Logger.Warn("how long modules took is not known; ready ones are ordered without", "error", err)
	}
	control, epoch := state.Control()
	epoch++
	takeover := jobs.Record{Takeover: &jobs.Takeover{Epoch: epoch, Orchestrator: cfg.Name}}
	if _, err := c.Append(ctx, run, "", control, takeover); err != nil {
		return jobs.End{}, fmt.Errorf("take run %s over: %w", run, err)
	}
	l := newLoop(c, cfg, lanes, state, schedule.NewFleet(registry.TTL()), epoch)
	err = l.runWith(ctx, registry, entries[len(entries)-1].Sequence)
	if end := state.Ended(); end != nil {
		if took := state.Durations(); len(took) > 0 && ctx.Err() == nil {
			if err := stats.Add(ctx, state.Spec().Pipeline.Name, took); err != nil {
				cfg.Logger.Warn("how long modules took is not remembered", "error", err)
			}
		}
		return *end, nil
	}
	return jobs.End{}, err
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		host, _ := os.Hostname()
		c.Name = host + "-" + uuid.NewString()[:8]
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// errEnded stops the loop's helpers when the run has ended.
var errEnded = errors.New("ended")

// runWith runs the loop and what feeds it, and returns when all have stopped.
func (l *loop) runWith(ctx context.Context, registry *kv.Registry, after uint64) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.broker.Follow(ctx, l.run, after, l.entries) })
	g.Go(func() error { return registry.Watch(ctx, l.changes) })
	g.Go(func() error {
		if err := l.loop(ctx); err != nil {
			return err
		}
		return errEnded
	})
	err := g.Wait()
	l.tasks.wait()
	if errors.Is(err, errEnded) {
		return nil
	}
	return err
}
