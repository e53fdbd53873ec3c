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
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// ServeConfig configures a long-lived orchestrator.
type ServeConfig struct {
	Config        // its Lease is not used
	MaxRuns   int // at most so many runs at once, others wait their turn; 0 = 64
	Retention Retention
	// Began is called once, when it has its name, knows the runs and their
	// leases, and from now on takes what nobody decides for. It may be nil.
	Began func()
	// Adopted and Left are called, from any goroutine, when it begins to
	// decide for a run, and when it no longer does: with the verdict, or the
	// error that says why. They may be nil.
	Adopted func(run jobs.RunID)
	Left    func(run jobs.RunID, end jobs.End, err error)
}

const (
	defaultMaxRuns = 64
	// retryTaken is after how long a run is looked at again that somebody
	// else was quicker to take: its lease is heard of by then.
	retryTaken = 200 * time.Millisecond
	// retryBroken is the same for a run that could not be decided for: something
	// is full or denied that somebody may mend, or its log cannot be read, and
	// may have changed.
	retryBroken = time.Minute
)

// Serve decides for every run that nobody decides for: for what is submitted,
// in that order, and for what has lost its orchestrator. Any number of them
// may serve one NATS; a run's lease says whose it is. When ctx ends, the
// leases are given back, so that another Serve goes on at once, and it
// returns nil. It fails on what does not pass, with kv.ErrHeld when a live
// one has its name; the entry of a killed one is waited for, until it expires.
func Serve(ctx context.Context, c *broker.Conn, cfg ServeConfig) error {
	cfg.Config = cfg.withDefaults()
	leases, err := kv.OpenLeases(ctx, c.Conn)
	if err != nil {
		return fmt.Errorf("open the bucket of leases: %w", err)
	}
	presence, err := takeName(ctx, leases, cfg.Config)
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was told to end while it waited for its name
		}
		return err
	}
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
	g.Go(func() error { return s.loop(gctx) })
	err = g.Wait()
	if told := ctx.Err() != nil; told {
		err = nil
	}
	return err
}

// openRun is a run without an end.
type openRun struct {
	ours   bool      // we decide for it, or are about to
	next   time.Time // not to be taken before
	unread uint64    // how far its log went when it could not be read; 0 = it could, or was not tried
}

// result is how a run that we decided for was left.
type result struct {
	run    jobs.RunID
	newest uint64 // how far its log went before
	err    error
}

// server is one Serve. What it knows is touched by loop only.
type server struct {
	broker *broker.Conn
	cfg    ServeConfig
	leases *kv.Leases
	self   *kv.RunLease // says that this one serves

	open   map[jobs.RunID]*openRun
	order  []jobs.RunID        // of submission; those that have ended are dropped in passing
	seen   map[jobs.RunID]bool // runs that were sent since the watch began, until every run that was there is known
	queued map[jobs.RunID]bool // runs that had jobs in the queue at the start
	leased map[string]bool     // leases that somebody holds
	listed bool                // every run that was there is known
	synced int                 // how often every lease that was there was known
	known  bool                // it is now
	began  bool                // Began was called
	from   time.Time           // what has no lease is not taken before
	ours   int                 // runs that we decide for

	runs chan broker.RunChange
	held chan kv.LeaseChange
	over chan result
}

// loop takes runs until ctx ends, and returns when it has left them all.
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
			continue // one look serves them all
		}
		s.begin()
		timer.Reset(s.adoptFree(func(run jobs.RunID, unread uint64) {
			deciding.Go(func() { s.decideFor(ctx, run, unread) })
		}))
	}
}

// begin says, once, that runs are taken from now on.
func (s *server) begin() {
	if s.began || !s.listed || !s.known {
		return
	}
	s.began = true
	if s.cfg.Began != nil {
		s.cfg.Began()
	}
}

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
				s.add(run) // it has ended, and is to be cleared up
			}
		}
		s.queued = nil
	case c.Ended:
		delete(s.open, c.Run)
	case s.open[c.Run] == nil:
		s.add(c.Run)
	}
}

// forgetLost forgets the runs whose logs the server has lost. Those that we
// decide for notice it themselves.
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

// heardLease keeps track of who is decided for. After a restart of the server
// entries may be missing whose holders live: those get the time to renew them.
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
		// What was given back expires, too, in the end: that is no loss, and
		// whoever took it for one would lead every run that ever ended, for ever.
		lost := c.Expired && s.leased[c.Key]
		delete(s.leased, c.Key)
		if run := jobs.RunID(c.Key); lost && s.listed && s.open[run] == nil && jobs.ValidID(c.Key) {
			s.add(run) // it has ended, but whoever wrote the end did not live to clear up
		}
	default:
		s.leased[c.Key] = true
	}
}

// take has begin called for every run that nobody decides for, as far as
// there is room, and returns when to look again.
func (s *server) adoptFree(begin func(run jobs.RunID, unread uint64)) time.Duration {
	now := time.Now()
	wake := now.Add(time.Hour)
	switch {
	case !s.listed || !s.known:
		return time.Hour // what is missing wakes us
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

// decideFor takes a run's lease and decides for it.
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

// lead is the time for which a run is ours. Nobody is told of one that has
// ended and only has to be cleared up, or whose lease was heard to be free
// before its end.
func (s *server) lead(ctx context.Context, run jobs.RunID) (*kv.RunLease, error) {
	lease, err := s.leases.Acquire(ctx, string(run), s.cfg.Name)
	if err != nil {
		return nil, err
	}
	cfg := s.cfg.Config
	cfg.Lease = lease
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
		return // it stays ours, and is not tried again
	case errors.Is(r.err, kv.ErrHeld), errors.Is(r.err, ErrSuperseded):
		run.next = time.Now().Add(retryTaken)
	case runlog.Unreadable(r.err):
		run.next, run.unread = time.Now().Add(retryBroken), r.newest
	default:
		run.next = time.Now().Add(retryBroken)
	}
	run.ours = false
}
