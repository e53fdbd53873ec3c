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
	Name   string       // of this orchestrator in leases and takeovers; "" = host name and a random suffix
	Logger *slog.Logger // nil = discard
	// WorkerTTL is the time after which a silent worker is lost, where this
	// orchestrator is the first to make the registry; 0 = 3 s.
	WorkerTTL time.Duration
	Lease     *kv.Lease // of the run, by Acquire; nil = Run acquires it
	// Fleet is called from one goroutine with worker.joined, worker.lost, and
	// waiting for what other runs hold. It may be slow: nothing but the end of
	// Run waits for it. It may be nil.
	Fleet func(jobs.Event)
}

// Run decides for a run until it has ended, and returns its verdict. It holds
// the run's lease meanwhile, and takes it again when it has lapsed and nobody
// else has it. When NATS loses the log of the run it returns a broker.GoneError.
// When ctx ends it stops deciding, gives the lease back and
// returns ctx's error; the run stays as it is. The error is kv.ErrHeld when
// somebody else decides for the run, ErrSuperseded when another orchestrator
// has taken it over, broker.ErrNotFound when there is no such run, and
// schedule.ErrCorrupt when its log cannot be folded, and ErrPanicked.
func Run(ctx context.Context, c *broker.Conn, run jobs.RunID, cfg Config) (jobs.End, error) {
	cfg = cfg.withDefaults()
	if cfg.Fleet != nil {
		t := newTeller(cfg.Fleet)
		defer t.close(cfg.Logger)
		cfg.Fleet = t.say
	}
	lease := cfg.Lease
	if lease == nil {
		var err error
		if lease, err = Acquire(ctx, c, run, cfg.Name); err != nil {
			return jobs.End{}, err
		}
		cfg.Lease = lease
	}
	for led := false; ; led = true {
		end, err := lead(ctx, c, run, cfg, lease)
		if led && errors.Is(err, broker.ErrNotFound) {
			err = c.Gone(run)
		}
		lapsed := errors.Is(err, kv.ErrLapsed) || errors.Is(err, broker.ErrReconnected)
		if !lapsed || ctx.Err() != nil {
			return end, err
		}
		cfg.Logger.Warn("the right to decide for the run has lapsed; taking it again", "run", run, "error", err)
		if err = lease.Renew(ctx); errors.Is(err, kv.ErrHeld) {
			err = fmt.Errorf("%w: %w", ErrSuperseded, err)
		}
		if err != nil {
			return jobs.End{}, err
		}
	}
}

// Acquire takes the right to decide for a run, which need not exist yet.
// kv.ErrHeld when somebody else has it.
func Acquire(ctx context.Context, c *broker.Conn, run jobs.RunID, name string) (*kv.Lease, error) {
	leases, err := kv.OpenLeases(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open the bucket of leases: %w", err)
	}
	return leases.Acquire(ctx, string(run), name)
}

// releasePatience bounds the return of a lease, which else expires.
const releasePatience = 2 * time.Second

// statsPatience bounds the wait to store what is only nice to know.
const statsPatience = 5 * time.Second

// lead decides for a run while the lease lasts.
func lead(ctx context.Context, c *broker.Conn, run jobs.RunID, cfg Config, lease *kv.Lease) (end jobs.End, err error) {
	g, gctx := errgroup.WithContext(ctx)
	doubt := false
	g.Go(func() error { return lease.Keep(gctx) })
	g.Go(func() (err error) {
		err = contained(cfg.Logger, run, func() (err error) {
			end, doubt, err = decide(gctx, c, run, cfg, lease)
			return err
		})
		if err != nil {
			return err
		}
		return errEnded
	})
	if err = g.Wait(); errors.Is(err, errEnded) {
		err = nil
	}
	if errors.Is(err, kv.ErrLapsed) {
		return end, err
	}
	if doubt {
		cfg.Logger.Debug("the lease is left to expire: what was published may not be stored yet", "run", run)
		return end, err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasePatience)
	defer cancel()
	if rerr := lease.Release(last); rerr != nil {
		cfg.Logger.Debug("a lease was not given back; it expires", "run", run, "error", rerr)
	}
	return end, err
}

// decide takes the run over in its log and decides until it has ended. doubt
// says that a job which was published may be stored yet. Before the lease has
// expired nobody would look whether it still may start: the lease must not be
// given back, and others decide, earlier than that.
func decide(ctx context.Context, c *broker.Conn, run jobs.RunID, cfg Config, lease *kv.Lease) (_ jobs.End, doubt bool, _ error) {
	b, err := openBuckets(ctx, c, cfg.WorkerTTL)
	if err != nil {
		return jobs.End{}, false, err
	}
	state, last, err := takeOver(ctx, c, run, cfg.Name)
	if err != nil {
		return jobs.End{}, false, err
	}
	if end := state.Ended(); end != nil {
		leaveLocks(ctx, c, cfg, state)
		return *end, false, c.PurgeRun(ctx, run) // whoever wrote the end may not have lived to do it
	}
	_, epoch := state.Control()
	epoch++
	lease.SetEpoch(epoch)
	name := state.Spec().Pipeline.Name
	if known, err := b.stats.Durations(ctx, name); err == nil {
		state.Estimate(known.Took)
	} else {
		cfg.Logger.Warn("how long modules took is not known; ready ones are ordered without", "error", err)
	}
	l := newLoop(c, cfg, b.lanes, state, schedule.NewFleet(b.registry.TTL()), epoch)
	err = l.runWith(ctx, b.registry, last)
	end := state.Ended()
	if end == nil {
		return jobs.End{}, l.unanswered(), err
	}
	if took := state.Durations(); len(took) > 0 && ctx.Err() == nil {
		last, cancel := context.WithTimeout(ctx, statsPatience)
		defer cancel()
		if err := b.stats.Add(last, name, took); err != nil {
			cfg.Logger.Warn("how long modules took is not remembered", "error", err)
		}
	}
	return *end, false, nil
}

// takeOver records in the log who decides from here on, and returns the fold
// of what stood there before, with the sequence of its last entry. A stale
// orchestrator may write in between until it has seen a takeover: then the log
// is read again.
func takeOver(ctx context.Context, c *broker.Conn, run jobs.RunID, name string) (*schedule.Run, uint64, error) {
	for {
		entries, err := c.ReadLog(ctx, run)
		if err != nil {
			return nil, 0, fmt.Errorf("read the log of run %s: %w", run, err)
		}
		state, err := schedule.Load(entries, nil)
		if err != nil {
			return nil, 0, fmt.Errorf("fold the log of run %s: %w", run, err)
		}
		last := entries[len(entries)-1].Sequence
		if state.Ended() != nil {
			return state, last, nil
		}
		control, epoch := state.Control()
		takeover := jobs.Record{Takeover: &jobs.Takeover{Epoch: epoch + 1, Orchestrator: name}}
		_, err = c.Append(ctx, run, "", control, takeover)
		if err == nil {
			return state, last, nil
		}
		if !errors.Is(err, broker.ErrConflict) {
			return nil, 0, fmt.Errorf("take run %s over: %w", run, err)
		}
	}
}

// buckets are those that a loop needs.
type buckets struct {
	registry *kv.Registry
	lanes    *kv.Lanes
	stats    *kv.Stats
}

func openBuckets(ctx context.Context, c *broker.Conn, workerTTL time.Duration) (b buckets, err error) {
	if b.registry, err = kv.OpenRegistry(ctx, c, workerTTL); err != nil {
		return b, fmt.Errorf("open the registry of workers: %w", err)
	}
	if b.lanes, err = kv.OpenLanes(ctx, c); err != nil {
		return b, fmt.Errorf("open the bucket of lanes: %w", err)
	}
	if b.stats, err = kv.OpenStats(ctx, c); err != nil {
		return b, fmt.Errorf("open the bucket of durations: %w", err)
	}
	return b, nil
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
	start := func(f func() error) {
		g.Go(func() error { return contained(l.cfg.Logger, l.run, f) })
	}
	start(func() error { return l.broker.Follow(ctx, l.run, after, l.entries) })
	start(func() error { return registry.Watch(ctx, l.changes) })
	start(func() error { return watchGone(ctx, l.broker, l.run) })
	start(func() error { return l.keepLanes(ctx) })
	start(func() error { return l.watchLocks(ctx) })
	start(func() error {
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
