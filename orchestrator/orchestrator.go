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
	"github.com/modpipe/modpipe/internal/secrets"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// ErrSuperseded reports that another orchestrator has taken over the run.
var ErrSuperseded = errors.New("another orchestrator has taken the run over")

// Config configures an orchestrator.
type Config struct {
	Name   string       // of this orchestrator in leases and takeovers; "" = host name and a random suffix
	Logger *slog.Logger // nil = discard
	// WorkerTTL is the time after which a silent worker is lost. It is used only
	// when this orchestrator creates the registry of workers; 0 = 3 s.
	WorkerTTL time.Duration
	Lease     *kv.RunLease // of the run, from Acquire; nil = Run acquires it
	// Alone declares that the server is in this process and that no other
	// process can connect to it. After a restart no worker of another process
	// can hold a key, so Run does not wait for such workers. A module that no
	// worker of the caller can execute fails without waiting.
	Alone bool
	// Submitted is the number of the connection on which the caller has
	// submitted the run, from broker.Conn.Connection before Submit; 0 = another
	// process has submitted it. While that connection lasts, NATS has lost
	// nothing of the run.
	Submitted uint64
	// InPlace is the directory in which attempts of the run's own worker run,
	// unless the run is isolated; "" = every attempt has a directory of its own.
	// The cache hashes inputs there, and keeps the results of such attempts for this
	// directory of this machine only.
	InPlace string
	// Namespace is the namespace of the cache of every run, whatever its
	// specification names; "" = that of the specification.
	Namespace string
	// From lists the namespaces from which every run also reads when Namespace is
	// set. A run does not choose them: a program that writes to one decides what it uses.
	From []string
	// Secrets are those that this orchestrator sends to the workers of modules, with
	// its rules; nil = it has none.
	Secrets *secrets.Source
	// Fleet is called from one goroutine with the events worker.joined and
	// worker.lost, and with waiting when a module waits for a lock that another
	// run holds. It may be slow: only the return of Run waits for it. It may be
	// nil.
	Fleet func(report.Event)
	// Observe is called, from one goroutine at a time, with each step of the fold
	// of the run's log: its entry and the events that follow from it. The run waits
	// for it, so it must not block. It may be nil.
	Observe func(schedule.Step)

	greeted bool // another part of this process greets the workers
}

// Run decides for a run until the run has ended, and returns its end. It holds
// the run's lease while it decides. When the lease has lapsed and no other
// orchestrator holds it, Run acquires it again. When ctx ends, Run stops
// deciding, releases the lease, and returns ctx's error. The run stays as it is.
//
// The error is kv.ErrHeld when another orchestrator decides for the run, and
// ErrSuperseded when another one has taken it over. It is a signing.MissingError when the
// connection does not have the signing key of the run. It is broker.ErrNotFound
// when there is no such run, a broker.GoneError when NATS loses the log of the
// run, and schedule.ErrCorrupt when the log cannot be folded. It is
// runlog.ErrPanicked when a goroutine of the run panicked.
func Run(ctx context.Context, c *broker.Conn, run jobs.RunID, cfg Config) (jobs.End, error) {
	cfg = cfg.withDefaults()
	if cfg.Fleet != nil {
		events := newEventQueue(cfg.Fleet)
		defer events.close(cfg.Logger)
		cfg.Fleet = events.add
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
	var epoch kv.Epoch // the last known epoch of fencing tokens
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
			cfg.Logger.Info("reconnected to NATS; taking the run over again", "run", run, "orchestrator", cfg.Name, "url", c.URL())
			doubt = in
		case errors.Is(err, kv.ErrLapsed):
			cfg.Logger.Warn("the lease of the run has lapsed; acquiring it again", "run", run, "orchestrator", cfg.Name, "error", err)
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

// Acquire acquires the lease of a run, which is the right to decide for it. The
// run need not exist yet. Acquire returns kv.ErrHeld when another orchestrator
// holds the lease.
func Acquire(ctx context.Context, c *broker.Conn, run jobs.RunID, name string) (*kv.RunLease, error) {
	leases, err := kv.OpenLeases(ctx, c.Conn)
	if err != nil {
		return nil, fmt.Errorf("open the bucket of leases: %w", err)
	}
	return leases.Acquire(ctx, string(run), name)
}

// releasePatience bounds the release of a lease. A lease that was not released
// expires.
const releasePatience = 2 * time.Second

// statsPatience bounds the storing of the durations of modules, which no run
// depends on.
const statsPatience = 5 * time.Second

// lead decides for a run while the lease and the connection last. It begins at
// before. The server may store a published job until doubt.
func lead(ctx context.Context, c *broker.Conn, run jobs.RunID, cfg Config, lease *kv.RunLease, before time.Time, epoch *kv.Epoch) (end jobs.End, doubt time.Time, err error) {
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
		cfg.Logger.Debug("the lease is left to expire: the server may still store a published job", "run", run)
		return end, doubt, err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasePatience)
	defer cancel()
	if rerr := lease.Release(last); rerr != nil {
		cfg.Logger.Debug("releasing a lease failed; it expires", "run", run, "error", rerr)
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

// decide takes the run over in its log and decides until the run has ended. ctx
// is pinned to the connection, because state that was read on one connection is
// not valid on another. The server may store a published job until doubt. While
// the lease has not expired, no worker checks whether such a job may still
// start. So the lease must not be released, and no other orchestrator may
// decide, before doubt.
func decide(ctx context.Context, c *broker.Conn, run jobs.RunID, cfg Config, lease *kv.RunLease, epoch *kv.Epoch) (_ jobs.End, doubt time.Time, _ error) {
	b, err := openBuckets(ctx, c, cfg.WorkerTTL)
	if err != nil {
		return jobs.End{}, doubt, err
	}
	fencing, err := kv.Fencing(ctx, c.Conn, b.registry, *epoch)
	if err != nil {
		return jobs.End{}, doubt, err
	}
	*epoch = fencing
	created, err := b.registry.Created(ctx)
	if err != nil {
		return jobs.End{}, doubt, err
	}
	t := takeover{conn: c, run: run, name: cfg.Name, known: lease.Epoch(), submitted: cfg.Submitted == c.Connection(), registry: created, fencing: fencing.Number, lease: lease}
	if cfg.Observe != nil {
		t.observer = &observer{sink: cfg.Observe}
	}
	state, err := t.take(ctx)
	if err != nil {
		return jobs.End{}, doubt, err
	}
	if end := state.Ended(); end != nil {
		leaveLocks(ctx, c, cfg, state)
		return *end, doubt, c.Queue.PurgeRun(ctx, run) // the orchestrator that recorded the end may have died before it
	}
	name := state.Spec().Pipeline.Name
	if known, err := b.stats.Durations(ctx, name); err == nil {
		state.Estimate(known.Took)
	} else {
		cfg.Logger.Warn("reading the durations of modules failed; ready modules are ordered without them", "error", err)
	}
	l := newLoop(c, cfg, b, state, t, fencing)
	l.refusal = t.refusal(state, l.secrets)
	err = l.runWith(ctx, b.registry, t.last)
	end := state.Ended()
	if end == nil {
		return jobs.End{}, l.unanswered(), err
	}
	if took := state.Durations(); len(took) > 0 && ctx.Err() == nil {
		last, cancel := context.WithTimeout(ctx, statsPatience)
		defer cancel()
		if err := b.stats.Add(last, name, took); err != nil {
			cfg.Logger.Warn("storing the durations of modules failed", "error", err)
		}
	}
	return *end, doubt, nil
}

// takeover records in the log that this orchestrator decides from then on.
type takeover struct {
	conn  *broker.Conn
	run   jobs.RunID
	name  string
	known uint64       // the newest epoch that is known from outside the log
	lease *kv.RunLease // gets the epoch before the log does; nil = no lease

	submitted bool      // the run was submitted on this connection
	registry  time.Time // when the registry of workers was created; zero = not known
	fencing   uint64    // epoch of fencing tokens

	observer *observer // nil = the fold is not observed

	keyID    string      // of the signing key of the run; "" = it has no keys
	key      signing.Key // of the run; nil = it has no keys
	safe     bool        // the server has not restarted since the run was submitted
	epoch    uint64      // of the takeover
	sequence uint64      // of the takeover's record
	last     uint64      // sequence of the last record before the takeover
}

// take records the takeover, and returns the fold of the log before it. It
// returns the fold without a takeover when the run has ended. An older
// orchestrator writes until it has read the takeover. When such a write comes in
// between, take reads the log again.
func (t *takeover) take(ctx context.Context) (*schedule.Run, error) {
	for {
		entries, err := t.conn.Runs.Read(ctx, t.run)
		if err != nil {
			return nil, fmt.Errorf("read the log of run %s: %w", t.run, err)
		}
		state, err := t.load(entries)
		if err != nil {
			return nil, fmt.Errorf("fold the log of run %s: %w", t.run, err)
		}
		t.last = entries[len(entries)-1].Sequence
		if state.Ended() != nil {
			t.observed()
			return state, nil
		}
		if err := t.setKey(entries); err != nil {
			return nil, err
		}
		created := state.Spec().Registry
		t.safe = t.submitted || !created.IsZero() && created.Equal(t.registry)
		t.epoch = schedule.NextEpoch(state, t.known, t.safe, t.fencing)
		t.known = t.epoch
		if err := t.announceEpoch(ctx); err != nil {
			return nil, err
		}
		control, _ := state.Control()
		t.sequence, err = t.conn.Runs.Append(ctx, t.run, "", control, jobs.Record{Takeover: &jobs.Takeover{Epoch: t.epoch, Orchestrator: t.name, Key: t.keyID}})
		if err == nil {
			t.observed()
			return state, nil
		}
		if !errors.Is(err, broker.ErrConflict) {
			return nil, fmt.Errorf("take run %s over: %w", t.run, err)
		}
	}
}

// announceEpoch stores the epoch of the takeover in the lease, before the
// takeover is recorded in the log. It returns kv.ErrLapsed when it fails.
func (t *takeover) announceEpoch(ctx context.Context) error {
	if t.lease == nil {
		return nil
	}
	t.lease.SetEpoch(t.epoch)
	if err := t.lease.Renew(ctx); err != nil {
		return fmt.Errorf("take run %s over: %w: %w", t.run, kv.ErrLapsed, err)
	}
	return nil
}

// buckets are the buckets that a loop uses.
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

// errEnded stops the other goroutines of a run when the run has ended.
var errEnded = errors.New("ended")

// runWith runs the loop and the goroutines that send it events. It returns when
// all have stopped. It returns nil when the run has ended, and
// broker.ErrReconnected when the connection was replaced.
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
	start(func() error { return l.watchFlights(ctx) })
	start(func() error {
		return l.broker.Control.Questions(ctx, l.run, func(q *jobs.Question, signed func(signing.Key) bool) {
			if q.Received {
				l.confirmed(ctx, q, signed)
				return
			}
			l.answerQuestion(ctx, q)
		})
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
