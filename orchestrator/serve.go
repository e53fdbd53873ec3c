package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// ServeConfig configures a long-lived orchestrator.
type ServeConfig struct {
	Config        // its Lease is not used
	MaxRuns   int // how many runs it decides for at the same time; other runs wait their turn; 0 = 64
	Retention Retention
	// Began is called once, when the orchestrator has its name and has read the
	// list of runs and their leases. From then on it takes runs without an
	// orchestrator. Began may be nil.
	Began func()
	// Adopted is called when the orchestrator begins to decide for a run, and
	// Left when it stops. Left gets the end of the run, or the error that made
	// the orchestrator stop. Both are called from any goroutine. They may be nil.
	Adopted func(run jobs.RunID)
	Left    func(run jobs.RunID, end jobs.End, err error)
}

const (
	defaultMaxRuns = 64
	// retryTaken is the delay before another try of a run that another
	// orchestrator took first. The watch has usually delivered its lease by then.
	retryTaken = 200 * time.Millisecond
	// retryBroken is the delay before another try of a run that failed. An
	// operator may have freed space or granted a permission, or the unreadable
	// log may have changed.
	retryBroken = time.Minute
)

// Serve decides for every run without an orchestrator: for submitted runs, in
// the order of their submission, and for runs that have lost their orchestrator.
// Any number of orchestrators may serve one NATS. The lease of a run names the
// one that decides for it.
//
// When ctx ends, Serve releases the leases, so that another orchestrator can
// continue without a delay, and returns nil. It fails on permanent errors. It
// returns kv.ErrHeld when a live orchestrator has its name. When a killed
// orchestrator has left an entry with this name, Serve waits until the entry
// expires.
func Serve(ctx context.Context, c *broker.Conn, cfg ServeConfig) error {
	cfg.Config = cfg.withDefaults()
	if err := kv.Create(ctx, c.Conn, cfg.WorkerTTL); err != nil {
		return err
	}
	leases, err := kv.OpenLeases(ctx, c.Conn)
	if err != nil {
		return fmt.Errorf("open the bucket of leases: %w", err)
	}
	presence, err := takeName(ctx, leases, cfg.Config)
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // ctx ended while Serve waited for its name
		}
		return err
	}
	presence.SetKeys(c.Keys().IDs())
	queued, err := c.Queue.Runs(ctx)
	if err != nil {
		return err
	}
	s := &server{
		broker: c, cfg: cfg, leases: leases, self: presence, queued: queued,
		open: map[jobs.RunID]*openRun{}, leased: map[string]bool{},
		runs: make(chan broker.RunChange, changesBuffered),
		held: make(chan kv.LeaseChange, changesBuffered),
		over: make(chan result),
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.Runs.Watch(gctx, s.runs) })
	g.Go(func() error { return leases.Watch(gctx, s.held) })
	g.Go(func() error { return s.keepPresence(gctx, presence) })
	g.Go(func() error { return s.sweeps(gctx) })
	g.Go(func() error { return keepStreams(gctx, c, cfg.Config) })
	g.Go(func() error { return s.greetWorkers(gctx) })
	g.Go(func() error { return s.loop(gctx) })
	err = g.Wait()
	if stopped := ctx.Err() != nil; stopped {
		err = nil
	}
	return err
}

// openRun is a run without an end.
type openRun struct {
	ours   bool      // this server decides for it, or is about to
	next   time.Time // the earliest time to take it
	told   bool      // the log of this process tells that it does not have the key of the run
	unread uint64    // the last sequence of its log when the log could not be read; 0 = it was readable, or was not read yet
}

// result is the result of a try to decide for a run.
type result struct {
	run    jobs.RunID
	newest uint64 // the last sequence of its log before the try
	err    error
}

// server is the state of one call of Serve. Only loop uses the fields from open
// to ours.
type server struct {
	broker *broker.Conn
	cfg    ServeConfig
	leases *kv.Leases
	self   *kv.RunLease // announces that this orchestrator serves

	open   map[jobs.RunID]*openRun
	order  []jobs.RunID        // in the order of submission; adoptFree removes the ended ones
	seen   map[jobs.RunID]bool // runs that the watch has sent since it began; nil after the watch is synced
	queued map[jobs.RunID]bool // runs that had jobs in the queue at the start
	leased map[string]bool     // keys of the leases that are held
	listed bool                // the watch of runs is synced
	synced int                 // how often the watch of leases was synced
	known  bool                // the watch of leases is synced
	began  bool                // Began was called
	from   time.Time           // the earliest time to take a run without a lease
	ours   int                 // how many runs this server decides for

	runs chan broker.RunChange
	held chan kv.LeaseChange
	over chan result
}

// loop takes runs until ctx ends. It returns when it decides for none of them any
// more.
func (s *server) loop(ctx context.Context) error {
	var deciding sync.WaitGroup
	defer deciding.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case c := <-s.runs:
			s.runChanged(c)
		case c := <-s.held:
			s.leaseChanged(c)
		case r := <-s.over:
			s.finished(r)
		case <-timer.C:
		}
		if len(s.runs)+len(s.held) > 0 {
			continue // one check covers all changes that have arrived
		}
		s.begin()
		timer.Reset(s.adoptFree(func(run jobs.RunID, unread uint64) {
			deciding.Go(func() { s.decideFor(ctx, run, unread) })
		}))
	}
}

// begin calls Began once, when the server knows all runs and leases.
func (s *server) begin() {
	if s.began || !s.listed || !s.known {
		return
	}
	s.began = true
	if s.cfg.Began != nil {
		s.cfg.Began()
	}
}

// runChanged applies a change of the list of runs.
func (s *server) runChanged(c broker.RunChange) {
	if s.seen != nil {
		s.seen[c.Run] = true
	}
	switch {
	case c.Began:
		s.listed, s.seen = false, map[jobs.RunID]bool{}
	case c.Synced:
		s.listed = true
		s.forgetLost()
		for run := range s.queued {
			if s.open[run] == nil {
				s.add(run) // it has ended, and its jobs must be removed
			}
		}
		s.queued = nil
	case c.Ended:
		delete(s.open, c.Run)
	case s.open[c.Run] == nil:
		s.add(c.Run)
	}
}

// forgetLost removes the runs whose logs NATS has lost. It keeps the runs that
// this server decides for, because their loops detect the loss.
func (s *server) forgetLost() {
	for run, r := range s.open {
		if s.seen[run] || r.ours {
			continue
		}
		delete(s.open, run)
		s.cfg.Logger.Error("run lost", "run", string(run), "error", s.broker.Runs.Gone(run))
	}
	s.seen = nil
}

func (s *server) add(run jobs.RunID) {
	s.open[run] = &openRun{}
	s.order = append(s.order, run)
}

// leaseChanged keeps track of the runs that have an orchestrator. After a restart
// of NATS, entries of live holders may be missing. The server then takes no run
// for the time to live of a lease, so that the holders can renew them.
func (s *server) leaseChanged(c kv.LeaseChange) {
	switch {
	case c.Began:
		s.known = false
		clear(s.leased)
	case c.Synced:
		if s.synced++; s.synced > 1 {
			s.from = time.Now().Add(s.leases.TTL())
		}
		s.known = true
	case c.Gone:
		// The tombstone of a released lease also expires in the end. Only a lease
		// that expires while it is held shows that its orchestrator died.
		// Otherwise the server would take every ended run again and again.
		lost := c.Expired && s.leased[c.Key]
		delete(s.leased, c.Key)
		if run := jobs.RunID(c.Key); lost && s.listed && s.open[run] == nil && jobs.ValidID(c.Key) {
			s.add(run) // it has ended, and its orchestrator died before it cleaned up
		}
	default:
		s.leased[c.Key] = true
	}
}

// adoptFree calls begin for every run without an orchestrator, up to MaxRuns. It
// returns the time until the next check.
func (s *server) adoptFree(begin func(run jobs.RunID, unread uint64)) time.Duration {
	now := time.Now()
	wake := now.Add(time.Hour)
	switch {
	case !s.listed || !s.known:
		return time.Hour // the missing answer of a watch wakes the loop
	case now.Before(s.from):
		return s.from.Sub(now)
	}
	order := s.order
	s.order = s.order[:0]
	for _, run := range order {
		r := s.open[run]
		if r == nil {
			continue
		}
		s.order = append(s.order, run)
		switch {
		case r.ours || s.leased[string(run)] || s.ours >= cmp.Or(s.cfg.MaxRuns, defaultMaxRuns):
		case now.Before(r.next):
			wake = earlier(wake, r.next)
		default:
			r.ours = true
			s.ours++
			begin(run, r.unread)
		}
	}
	s.self.SetFull(s.ours >= cmp.Or(s.cfg.MaxRuns, defaultMaxRuns))
	return wake.Sub(now)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// decideFor decides for a run, and sends the result to the loop. When the run
// caused a panic, it keeps the lease.
func (s *server) decideFor(ctx context.Context, run jobs.RunID, unread uint64) {
	newest, lease, err := s.tryLead(ctx, run, unread)
	select {
	case s.over <- result{run, newest, err}:
	case <-ctx.Done():
		return
	}
	if errors.Is(err, runlog.ErrPanicked) {
		s.keepAside(ctx, run, lease, err)
	}
}

// lead acquires the lease of a run and decides for it. It calls Adopted and Left,
// except for a run that has ended already: lead only cleans up after such a run.
func (s *server) lead(ctx context.Context, run jobs.RunID) (*kv.RunLease, error) {
	lease, err := s.leases.Acquire(ctx, string(run), s.cfg.Name)
	if err != nil {
		return nil, err
	}
	cfg := s.cfg.Config
	cfg.Lease, cfg.greeted = lease, true
	ended, err := s.broker.Runs.Ended(ctx, run)
	if err == nil && !ended && s.cfg.Adopted != nil {
		s.cfg.Adopted(run)
	}
	end, err := Run(ctx, s.broker, run, cfg)
	if !ended && s.cfg.Left != nil {
		s.cfg.Left(run, end, err)
	}
	return lease, err
}

// finished applies the result of a try: it removes a run that has ended or is
// gone, and sets the time of the next try of other runs.
func (s *server) finished(r result) {
	s.ours--
	run := s.open[r.run]
	switch {
	case run == nil:
		return
	case r.err == nil, errors.Is(r.err, broker.ErrNotFound), errors.As(r.err, new(*broker.DroppedError)), errors.As(r.err, new(*broker.GoneError)):
		delete(s.open, r.run)
		return
	case errors.Is(r.err, runlog.ErrPanicked):
		return // the run keeps its place and its lease, and is not tried again
	case errors.As(r.err, new(*signing.MissingError)):
		run.next = time.Now().Add(retryBroken)
		if !run.told {
			run.told = true
			s.cfg.Logger.Warn("run left to another orchestrator", "run", string(r.run), "error", r.err)
		}
	case errors.Is(r.err, kv.ErrHeld), errors.Is(r.err, ErrSuperseded):
		run.next = time.Now().Add(retryTaken)
	case runlog.Unreadable(r.err):
		run.next, run.unread = time.Now().Add(retryBroken), r.newest
	default:
		run.next = time.Now().Add(retryBroken)
	}
	run.ours = false
}
