package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/internal/puller"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// lookForStreams is how long a worker waits between two looks for what an orchestrator
// creates: the first run on a new NATS waits for it.
const lookForStreams = 200 * time.Millisecond

// open opens the buckets. It waits for NATS, and for the orchestrator that creates
// them.
func (s *shift) open(ctx context.Context) error {
	for said := false; ; said = true {
		err := persist(ctx, func(ctx context.Context) (err error) {
			if s.registry, err = kv.JoinRegistry(ctx, s.conn.Conn); err != nil {
				return err
			}
			s.lanes, err = kv.JoinLanes(ctx, s.conn.Conn)
			return err
		})
		if err == nil {
			break
		}
		if !errors.Is(err, broker.ErrNotFound) {
			return err
		}
		if !said {
			s.log.Warn("waiting for an orchestrator, which creates what is missing on NATS", "url", s.conn.URL(), "error", err)
		}
		if err := pause.For(ctx, lookForStreams); err != nil {
			return err
		}
	}
	s.ttl = s.registry.TTL()
	if want := s.w.cfg.WorkerTTL; want != 0 && want != s.ttl {
		s.log.Warn("a silent worker is lost after another time than this worker was told; the orchestrator that started first on this NATS has set it (--worker-ttl)", "told", want, "set", s.ttl)
	}
	s.self.TTL, s.self.KeyLease = s.ttl, attempt.NewKeyLease(s.ttl)
	s.puller = puller.New(s.conn.Conn, s.conn.Queue, s.cfg.Slots, s.handle)
	return nil
}

// takenFor is how long a taken name is tried: the entry of a killed worker expires
// after its TTL, that of a live one does not.
func (s *shift) takenFor() time.Duration { return min(s.ttl+time.Second, 15*time.Second) }

// register adds the worker to the registry.
func (s *shift) register(ctx context.Context) error {
	limit := time.Now().Add(s.takenFor())
	for said := false; ; said = true {
		var sent time.Time
		err := persist(ctx, func(ctx context.Context) error {
			sent = time.Now()
			err := s.registry.Register(ctx, s.describe())
			if errors.Is(err, kv.ErrTaken) {
				return errors.Join(err, broker.ErrConflict) // an answer
			}
			return err
		})
		switch {
		case err == nil:
			s.self.KeyLease.Renew(sent, time.Now())
			return nil
		case !errors.Is(err, kv.ErrTaken):
			return err
		case time.Now().After(limit):
			return kv.ErrTaken
		}
		if !said {
			s.log.Warn("waiting for the entry of a worker of the same name to expire", "at_most", s.takenFor())
		}
		if err := pause.For(ctx, s.ttl/10); err != nil {
			return err
		}
	}
}

// beatNow sends the next heartbeat immediately.
func (s *shift) beatNow() {
	select {
	case s.nudge <- struct{}{}:
	default:
	}
}

// heartbeats renews the entry, and with it the lease: every TTL/3, and when an
// important value has changed.
func (s *shift) heartbeats(ctx context.Context) error {
	tick := time.NewTicker(s.ttl / 3)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-tick.C:
		case <-s.nudge:
		case <-ctx.Done():
			return nil
		}
		err := s.beat(ctx)
		switch {
		case errors.Is(err, broker.ErrReconnected):
			s.beatNow()
			continue
		case errors.Is(err, broker.ErrDenied):
			return err
		case err != nil && !failing && ctx.Err() == nil:
			s.log.Warn("a heartbeat was not acknowledged", "url", s.conn.URL(), "error", err)
		case err == nil && failing:
			s.log.Info("heartbeats are acknowledged again")
		}
		failing = err != nil
	}
}

func (s *shift) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(s.conn.Pin(ctx), s.ttl/2)
	defer cancel()
	if err := s.verify(ctx); err != nil {
		return fmt.Errorf("verify the claims of this worker: %w", err)
	}
	me := s.describe()
	me.Settled = s.conn.ConnectedFor(s.verified) >= s.ttl
	sent := time.Now()
	if err := s.registry.Beat(ctx, me); err != nil {
		return err
	}
	gap := s.self.KeyLease.Renew(sent, time.Now())
	s.commands.Beat(s.deadline())
	if gap {
		s.recheck() // other processes may have concluded that this worker is lost
	}
	return nil
}

// guardInterval is how often the guard of the commands receives a sign of life.
func (s *shift) guardInterval() time.Duration { return max(s.ttl/6, 50*time.Millisecond) }

// deadline is when modules that hold a key have to be killed; zero when no other
// worker can get their keys.
func (s *shift) deadline() time.Time {
	if s.alone() {
		return time.Time{}
	}
	until, _ := s.self.KeyLease.Next()
	return until
}

// verifiedAtOnce is how many cells are read in parallel.
const verifiedAtOnce = 32

// verify reads the cells of claimed attempts before the first heartbeat on a new
// connection, and forgets attempts that are not claimed: the server may have lost the
// last part of its log.
func (s *shift) verify(ctx context.Context) error {
	on := s.conn.Connection()
	if s.verified == on {
		return nil
	}
	if err := s.registry.Check(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(verifiedAtOnce)
	s.each(func(a *task) { g.Go(func() error { return a.Reconnected(ctx) }) })
	if err := g.Wait(); err != nil {
		return err
	}
	s.verified = on
	return nil
}

// lapses kills the attempts that hold a key when the lease lapses: by KILL, before
// another worker may start them.
func (s *shift) lapses(ctx context.Context) error {
	for {
		until, renewed := s.self.KeyLease.Next()
		t := time.NewTimer(time.Until(until))
		select {
		case <-renewed:
			t.Stop()
			continue
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
		if _, live := s.self.KeyLease.State(time.Now()); live {
			continue
		}
		s.lapse()
		select {
		case <-renewed:
		case <-ctx.Done():
			return nil
		}
	}
}

// lapse kills the attempts that hold a key under a lapsed lease, unless no other
// process has joined that could hold it.
func (s *shift) lapse() {
	if s.alone() {
		s.log.Debug("the lease has lapsed; no other process has joined, so nothing is killed")
		return
	}
	var killed []string
	s.each(func(a *task) {
		if a.Lapsed() {
			killed = append(killed, a.String())
		}
	})
	if len(killed) == 0 {
		s.log.Warn("the lease has lapsed: NATS has not acknowledged a heartbeat in time; no module here holds a key, and what runs goes on")
		return
	}
	s.log.Warn("the lease has lapsed: NATS has not acknowledged a heartbeat in time; the modules that held a key were killed", "attempts", killed)
}

// reconnects sends a heartbeat on every new connection.
func (s *shift) reconnects(ctx context.Context) error {
	again := s.conn.Reconnected(ctx)
	for {
		select {
		case _, ok := <-again:
			if !ok {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
		s.beatNow()
	}
}

func (s *shift) recheck() {
	s.each(func(a *task) { a.Recheck() })
}

// keepDeliveries reports to the server that the open deliveries are in progress.
func (s *shift) keepDeliveries(ctx context.Context) error {
	tick := time.NewTicker(puller.AckWait / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.each(func(a *task) {
				if err := a.d.InProgress(); err != nil {
					s.log.Debug("in progress", "attempt", a.String(), "error", err)
				}
			})
		case <-ctx.Done():
			return nil
		}
	}
}

// goodbye removes the entry, if NATS answers soon.
func (s *shift) goodbye(ctx context.Context) {
	if !s.conn.Connected() {
		return // it expires
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := s.registry.Leave(ctx, s.cfg.Name); err != nil {
		s.log.Debug("leave the registry", "error", err)
	}
}

// describe returns the heartbeat. A new field of it is set here, defined in
// jobs.WorkerInfo, and shown by cli's list of workers; no other file changes.
func (s *shift) describe() jobs.WorkerInfo {
	host, _ := os.Hostname()
	load := machine.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	w := jobs.WorkerInfo{
		Name: s.cfg.Name, Incarnation: s.self.Incarnation, Version: s.cfg.Version,
		Capabilities: s.tools.base(), Slots: s.cfg.Slots, Used: s.used,
		Draining: s.draining, Unable: s.health.reason(), LanesSeen: s.lanesSeen,
		Started: s.started, PID: os.Getpid(), Host: host, Place: workspace.Place(s.cfg.Workspace), Load: load,
	}
	w.Capabilities.Tools = maps.Clone(s.known)
	w.Running = s.running()
	s.trust.describe(&w)
	return w
}

// running lists attempts for the heartbeat, one of each run first: a run that is
// listed is not swept.
func (s *shift) running() (named []jobs.RunningEntry) {
	runs := map[jobs.RunID]bool{}
	var more []jobs.RunningEntry
	for a := range s.tasks {
		e := jobs.RunningEntry{Run: a.job.Run, Module: a.job.Module, Attempt: a.job.Attempt, Nonce: a.Nonce()}
		if runs[e.Run] {
			more = append(more, e)
			continue
		}
		runs[e.Run] = true
		named = append(named, e)
	}
	named = append(named, more...)
	return named[:min(len(named), jobs.MostListed)]
}
