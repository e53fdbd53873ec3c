package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// ErrSuperseded reports that another orchestrator has taken the run over.
var ErrSuperseded = errors.New("another orchestrator has taken the run over")

// Config configures an orchestrator.
type Config struct {
	Name   string       // of this orchestrator in leases and takeovers; "" = host name and a random suffix
	Logger *slog.Logger // nil = discard
	// WorkerTTL is the time after which a silent worker is lost, where this
	// orchestrator is the first to make the registry; 0 = 3 s.
	WorkerTTL time.Duration
	Lease     *kv.Lease // of the run, by Acquire; nil = Run acquires it
	// Alone says that the server is in this process and that no other process
	// can join it: no worker of another can hold a key after a restart, and what
	// the workers of the caller lack fails at once.
	Alone bool
	// Submitted is the number of the connection, by broker.Conn.Connection
	// before Submit, on which the caller has submitted the run; 0 = others have.
	// On that connection NATS has lost nothing of the run.
	Submitted uint64
	// Fleet is called from one goroutine with worker.joined, worker.lost, and
	// waiting for what other runs hold. It may be slow: nothing but the end of
	// Run waits for it. It may be nil.
	Fleet func(report.Event)
}

// Run decides for a run until it has ended, and returns its verdict. It holds
// the run's lease meanwhile, and takes it again when it has lapsed and nobody
// else has it. When NATS loses the log of the run it returns a broker.GoneError.
// When ctx ends it stops deciding, gives the lease back and
// returns ctx's error; the run stays as it is. The error is kv.ErrHeld when
// somebody else decides for the run, ErrSuperseded when another orchestrator
// has taken it over, broker.ErrNotFound when there is no such run, and
// schedule.ErrCorrupt when its log cannot be folded, and runlog.ErrPanicked.
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
	var doubt time.Time
	var epoch kv.Epoch // of fencing tokens, the last that is known
	for led := false; ; led = true {
		end, in, err := lead(ctx, c, run, cfg, lease, doubt, &epoch)
		if led && errors.Is(err, broker.ErrNotFound) {
			err = c.Runs.Gone(run)
		}
		if ctx.Err() != nil {
			return end, err
		}
		switch {
		case errors.Is(err, broker.ErrReconnected):
			cfg.Logger.Info("the connection to NATS was made again; taking the run over again", "run", run, "orchestrator", cfg.Name, "url", c.URL())
			doubt = in
		case errors.Is(err, kv.ErrLapsed):
			cfg.Logger.Warn("the right to decide for the run has lapsed; taking it again", "run", run, "orchestrator", cfg.Name, "error", err)
		default:
			return end, err
		}
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
	leases, err := kv.OpenLeases(ctx, c.Conn)
	if err != nil {
		return nil, fmt.Errorf("open the bucket of leases: %w", err)
	}
	return leases.Acquire(ctx, string(run), name)
}

// releasePatience bounds the return of a lease, which else expires.
const releasePatience = 2 * time.Second

// statsPatience bounds the wait to store what is only nice to know.
const statsPatience = 5 * time.Second

// lead decides for a run while the lease and the connection last. A job that
// was published may be stored until doubt.
func lead(ctx context.Context, c *broker.Conn, run jobs.RunID, cfg Config, lease *kv.Lease, before time.Time, epoch *kv.Epoch) (end jobs.End, doubt time.Time, err error) {
	doubt = before
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return lease.Keep(gctx) })
	g.Go(func() (err error) {
		if err := waitUntil(gctx, before); err != nil {
			return err
		}
		var later time.Time
		err = runlog.Contain(cfg.Logger, run, func() (err error) {
			end, later, err = decide(c.Pin(gctx), c, run, cfg, lease, epoch)
			return err
		})
		if later.After(doubt) {
			doubt = later
		}
		if err != nil {
			return err
		}
		return errEnded
	})
	if err = g.Wait(); errors.Is(err, errEnded) {
		err = nil
	}
	if errors.Is(err, kv.ErrLapsed) || errors.Is(err, broker.ErrReconnected) && ctx.Err() == nil {
		return end, doubt, err
	}
	if time.Now().Before(doubt) {
		cfg.Logger.Debug("the lease is left to expire: what was published may not be stored yet", "run", run)
		return end, doubt, err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasePatience)
	defer cancel()
	if rerr := lease.Release(last); rerr != nil {
		cfg.Logger.Debug("a lease was not given back; it expires", "run", run, "error", rerr)
	}
	return end, doubt, err
}

func waitUntil(ctx context.Context, at time.Time) error {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// decide takes the run over in its log and decides until it has ended. ctx is
// pinned to the connection: what was read on one means nothing on another.
// Until doubt a job that was published may be stored yet. Before the lease has
// expired nobody would look whether it still may start: the lease must not be
// given back, and others decide, earlier than that.
func decide(ctx context.Context, c *broker.Conn, run jobs.RunID, cfg Config, lease *kv.Lease, epoch *kv.Epoch) (_ jobs.End, doubt time.Time, _ error) {
	b, err := openBuckets(ctx, c, cfg.WorkerTTL)
	if err != nil {
		return jobs.End{}, doubt, err
	}
	fencing, err := kv.Fencing(ctx, c.Conn, b.registry, *epoch)
	if err != nil {
		return jobs.End{}, doubt, err
	}
	*epoch = fencing
	made, err := b.registry.Created(ctx)
	if err != nil {
		return jobs.End{}, doubt, err
	}
	t := takeover{conn: c, run: run, name: cfg.Name, known: lease.Epoch(), submitted: cfg.Submitted == c.Connection(), registry: made, fencing: fencing.Number, lease: lease}
	state, err := t.take(ctx)
	if err != nil {
		return jobs.End{}, doubt, err
	}
	if end := state.Ended(); end != nil {
		leaveLocks(ctx, c, cfg, state)
		return *end, doubt, c.Queue.PurgeRun(ctx, run) // whoever wrote the end may not have lived to do it
	}
	name := state.Spec().Pipeline.Name
	if known, err := b.stats.Durations(ctx, name); err == nil {
		state.Estimate(known.Took)
	} else {
		cfg.Logger.Warn("how long modules took is not known; ready ones are ordered without", "error", err)
	}
	l := newLoop(c, cfg, b, state, t, fencing)
	err = l.runWith(ctx, b.registry, t.last)
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
	return *end, doubt, nil
}

// takeover is a record in the log of who decides from here on.
type takeover struct {
	conn  *broker.Conn
	run   jobs.RunID
	name  string
	known uint64    // the newest epoch that is known beside the log
	lease *kv.Lease // that tells the epoch first; nil = none

	submitted bool      // on this connection
	registry  time.Time // when the registry of workers was made; zero = not known
	fencing   uint64    // epoch of fencing tokens

	safe     bool   // the server was not restarted since the run was submitted
	epoch    uint64 // of the takeover
	sequence uint64 // of its record
	last     uint64 // of the last record before it
}

// take records the takeover, and returns the fold of what stood before it. A
// stale orchestrator may write in between until it has seen a takeover: then
// the log is read again.
func (t *takeover) take(ctx context.Context) (*schedule.Run, error) {
	for {
		entries, err := t.conn.Runs.Read(ctx, t.run)
		if err != nil {
			return nil, fmt.Errorf("read the log of run %s: %w", t.run, err)
		}
		state, err := schedule.Load(entries, nil)
		if err != nil {
			return nil, fmt.Errorf("fold the log of run %s: %w", t.run, err)
		}
		t.last = entries[len(entries)-1].Sequence
		if state.Ended() != nil {
			return state, nil
		}
		made := state.Spec().Registry
		t.safe = t.submitted || !made.IsZero() && made.Equal(t.registry)
		t.epoch = schedule.NextEpoch(state, t.known, t.safe, t.fencing)
		t.known = t.epoch
		if err := t.tell(ctx); err != nil {
			return nil, err
		}
		control, _ := state.Control()
		t.sequence, err = t.conn.Runs.Append(ctx, t.run, "", control, jobs.Record{Takeover: &jobs.Takeover{Epoch: t.epoch, Orchestrator: t.name}})
		if err == nil {
			return state, nil
		}
		if !errors.Is(err, broker.ErrConflict) {
			return nil, fmt.Errorf("take run %s over: %w", t.run, err)
		}
	}
}

// tell has the lease tell the epoch before the log does.
func (t *takeover) tell(ctx context.Context) error {
	if t.lease == nil {
		return nil
	}
	t.lease.SetEpoch(t.epoch)
	if err := t.lease.Renew(ctx); err != nil {
		return fmt.Errorf("take run %s over: %w: %w", t.run, kv.ErrLapsed, err)
	}
	return nil
}

// buckets are those that a loop needs.
type buckets struct {
	registry *kv.Registry
	lanes    *kv.Lanes
	stats    *kv.Stats
}

func openBuckets(ctx context.Context, c *broker.Conn, workerTTL time.Duration) (b buckets, err error) {
	if b.registry, err = kv.OpenRegistry(ctx, c.Conn, workerTTL); err != nil {
		return b, fmt.Errorf("open the registry of workers: %w", err)
	}
	if b.lanes, err = kv.OpenLanes(ctx, c.Conn); err != nil {
		return b, fmt.Errorf("open the bucket of lanes: %w", err)
	}
	if b.stats, err = kv.OpenStats(ctx, c.Conn); err != nil {
		return b, fmt.Errorf("open the bucket of durations: %w", err)
	}
	return b, nil
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = ident.OnHost()
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
		g.Go(func() error { return runlog.Contain(l.cfg.Logger, l.run, f) })
	}
	start(func() error { return l.broker.Runs.Follow(ctx, l.run, after, l.entries) })
	start(func() error { return registry.Watch(ctx, l.changes) })
	start(func() error { return runlog.WatchGone(ctx, l.broker.Runs, l.run) })
	start(func() error { return l.keepLanes(ctx) })
	start(func() error { return l.watchLocks(ctx) })
	start(func() error {
		return l.broker.Control.Questions(ctx, l.run, func(q *jobs.Question) { l.asked(ctx, q) })
	})
	start(func() error {
		if err := l.loop(ctx); err != nil {
			return err
		}
		return errEnded
	})
	err := g.Wait()
	l.tasks.wait()
	if err != nil && ctx.Err() != nil && l.broker.Connection() != l.connection && !errors.Is(err, errEnded) && !errors.Is(err, ErrSuperseded) {
		err = fmt.Errorf("%w: %w", broker.ErrReconnected, err)
	}
	if errors.Is(err, errEnded) {
		return nil
	}
	return err
}
