package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/internal/exec/function"
	"github.com/modpipe/modpipe/internal/exec/process"
	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/internal/puller"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/kv"
)

const (
	// maxSettling is how many attempts whose processes are gone may be storing their
	// logs and outcomes.
	maxSettling = 256
	// lastWrites is how long outcomes may take when the worker has to end.
	lastWrites = 2 * time.Second
)

// shift is one Run of a worker.
type shift struct {
	w          *Worker
	cfg        Config
	conn       *broker.Conn
	log        *slog.Logger
	self       *attempt.Worker
	trust      *trust
	started    time.Time
	registry   *kv.Registry
	lanes      *kv.Lanes
	puller     *puller.Puller
	ttl        time.Duration
	tools      *toolbox
	health     *health
	commands   *process.Executor
	functions  function.Executor
	runs       runsSeen
	nudge      chan struct{} // holds one token when a heartbeat is due immediately
	settling   chan struct{} // a token for each attempt whose slots are free and whose outcome is not stored
	probing    chan struct{} // a token while a question about a claim is answered
	verified   uint64        // the connection on which open attempts were verified; belongs to heartbeats
	looked     chan struct{} // closed when all lanes were considered once
	attemptsWG sync.WaitGroup
	unsettled  gauge // attempts
	executing  gauge // those of them that hold slots

	mu        sync.Mutex
	tasks     map[*task]struct{}
	used      int
	ending    bool // new attempts are handed back immediately
	draining  bool
	finished  int       // attempts that have ended
	busy      time.Time // when an attempt last began or ended
	known     map[string]string
	lanesSeen uint64

	// work is the context of the writes of attempts: it outlives that of Run by
	// lastWrites. It is a field because deliveries arrive by callback.
	work  context.Context //nolint:containedctx // see above
	letGo context.CancelFunc
}

func newShift(w *Worker) (*shift, error) {
	log, incarnation := w.cfg.Logger.With("worker", w.cfg.Name), ident.New()
	trust, err := newTrust(incarnation, log)
	if err != nil {
		return nil, err
	}
	return &shift{
		w: w, cfg: w.cfg, conn: w.conn, log: log, started: time.Now(),
		self: &attempt.Worker{
			Name: w.cfg.Name, Incarnation: incarnation, Log: runLog{w.conn}, Clock: clock{}, Logger: log,
			Alone: w.cfg.Alone,
		},
		trust: trust, health: newHealth(), tools: newToolbox(w.cfg, w.program), functions: functionsOf(w.cfg.Functions),
		commands: process.New(process.Config{
			Workspace: workspace.New(w.cfg.Workspace), PassEnv: w.cfg.PassEnv, PassAll: w.cfg.PassAll, Keep: w.cfg.Slots, Logger: log,
		}),
		nudge: make(chan struct{}, 1), settling: make(chan struct{}, maxSettling), looked: make(chan struct{}), probing: make(chan struct{}, 1),
		tasks: map[*task]struct{}{}, known: map[string]string{}, busy: time.Now(),
	}, nil
}

// run works until the worker is drained, ctx ends, or NATS denies something.
func (s *shift) run(ctx context.Context) error {
	s.work, s.letGo = context.WithCancel(context.WithoutCancel(ctx))
	defer s.letGo()
	s.commands.Open()
	defer s.commands.Close()
	defer s.closeFiles()
	machine.ReserveThreads()
	loops, stopLoops := context.WithCancel(s.work)
	defer stopLoops()
	fatal := make(chan error, 1)
	var wg sync.WaitGroup
	s.loops(loops, &wg, fatal) //nolint:contextcheck // attempts may outlast ctx, in a drain

	var err error
	select {
	case <-s.w.drain:
		err = s.drained(ctx, fatal)
	case err = <-fatal:
		s.halt()
	case <-ctx.Done():
		err = context.Cause(ctx)
		s.halt()
	}
	s.letGo()
	stopLoops()
	wg.Wait()           // the puller's too: no delivery can arrive any more
	s.attemptsWG.Wait() // they wait for nothing any more
	s.goodbye(ctx)
	return err
}

// loops starts the loops of a shift.
func (s *shift) loops(ctx context.Context, wg *sync.WaitGroup, fatal chan<- error) {
	lanes := make(chan kv.LaneChange, 256) // the size of the bucket, so that a batch is considered together
	for name, loop := range map[string]func(context.Context) error{
		"pull":       s.puller.Run,
		"heartbeat":  s.heartbeats,
		"lease":      s.lapses,
		"keep":       s.keepDeliveries,
		"reconnect":  s.reconnects,
		"lanes":      func(ctx context.Context) error { return s.lanes.Follow(ctx, lanes) },
		"capability": func(ctx context.Context) error { return s.consider(ctx, lanes) },
		"control":    func(ctx context.Context) error { return s.conn.Control.Receive(ctx, s.cfg.Name, s.control) },
		"secrets":    s.secretsFor,
		"gone":       s.endGone,
		"idle":       s.whenIdle,
		"trials":     s.trials,
		"guard":      func(ctx context.Context) error { return s.commands.Watch(ctx, s.guardInterval(), s.deadline) },
	} {
		wg.Go(func() { s.forever(ctx, name, loop, fatal) })
	}
}

// forever restarts a loop until ctx ends: NATS may be away for long. Only a denied
// permission is final.
func (s *shift) forever(ctx context.Context, name string, loop func(context.Context) error, fatal chan<- error) {
	for {
		err := loop(ctx)
		if ctx.Err() != nil || err == nil {
			return
		}
		if errors.Is(err, broker.ErrDenied) {
			select {
			case fatal <- err:
			default: // one is enough
			}
			return
		}
		s.log.Warn("loop failed; restarting it", "loop", name, "error", err)
		if pause.For(ctx, attempt.MaxPause) != nil {
			return
		}
	}
}

// drained is the orderly end: no new attempts, and running ones may finish. After the
// drain timeout they are handed back.
func (s *shift) drained(ctx context.Context, fatal <-chan error) error {
	s.mu.Lock()
	s.draining = true
	draining := s.finished
	s.mu.Unlock()
	s.beatNow()
	s.log.Info("draining", "finishing", s.names(), "hands_back_after", s.cfg.DrainTimeout)
	limit, cancel := context.WithTimeout(ctx, s.cfg.DrainTimeout)
	defer cancel()
	if err := s.puller.Pause(limit); err != nil && ctx.Err() == nil {
		s.log.Warn("the last pull was not answered", "error", err)
	}
	select {
	case <-s.unsettled.none():
		s.log.Info("drained: nothing was handed back", "finished", s.finishedSince(draining))
		return nil
	case err := <-fatal:
		s.halt()
		return err
	case <-limit.Done():
	}
	if ctx.Err() == nil {
		s.log.Warn("the drain timeout has passed", "finished", s.finishedSince(draining), "handing_back", s.names())
		s.handBack(ctx)
	}
	if ctx.Err() != nil {
		s.halt()
		return context.Cause(ctx)
	}
	return nil
}

// handBack ends the running attempts, with their grace, and waits for the outcomes.
func (s *shift) handBack(ctx context.Context) {
	s.endAll(func(a *task) { a.HandBack(s.toldToGo(), a.job.Grace) })
	select {
	case <-s.executing.none():
		s.lastWrites()
	case <-ctx.Done():
	}
}

// halt ends the running attempts without a grace.
func (s *shift) halt() {
	s.endAll(func(a *task) { a.HandBack("worker "+s.cfg.Name+" was stopped", 0) })
	s.lastWrites()
}

func (s *shift) lastWrites() {
	limit := time.NewTimer(lastWrites)
	defer limit.Stop()
	select {
	case <-s.unsettled.none():
	case <-limit.C:
	}
}

// endAll asks all attempts to end, and those that may still arrive.
func (s *shift) endAll(end func(*task)) {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.each(end)
}

func (s *shift) toldToGo() string { return "worker " + s.cfg.Name + " was told to go" }

// names lists the open attempts, for the log.
func (s *shift) names() []string {
	names := []string{}
	s.each(func(a *task) { names = append(names, a.String()) })
	slices.Sort(names)
	if len(names) > mostNamed {
		names = append(names[:mostNamed], fmt.Sprintf("and %d more", len(names)-mostNamed))
	}
	return names
}

// mostNamed is how many attempts a line of the log names.
const mostNamed = 20

// finishedSince is how many attempts have ended since their number was before.
func (s *shift) finishedSince(before int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.finished - before
}

// handle receives a delivery from the puller, on the puller's goroutine.
func (s *shift) handle(d *puller.Delivery) {
	a := s.newTask(d)
	s.unsettled.add(1)
	s.executing.add(1)
	s.mu.Lock()
	twin := s.twin(a)
	s.tasks[a] = struct{}{}
	s.used += d.Slots
	s.busy = a.Began()
	ending := s.ending
	s.mu.Unlock()
	if ending {
		a.HandBack(s.toldToGo(), 0)
	} else if why := s.health.reason(); why != "" {
		a.HandBack("worker "+s.cfg.Name+" cannot begin attempts: "+why, 0)
	}
	s.attemptsWG.Go(func() {
		defer s.forget(a)
		if twin {
			a.Release(s.work) // the attempt runs here already, and its first delivery counts
			a.leaveRoom()
			return
		}
		if !s.runs.exists(s.work, s, a.job.Run) {
			s.log.Debug("left a job of a run that does not exist", "attempt", a.String())
			a.Release(s.work) // a sweep removes it
			a.leaveRoom()
			return
		}
		a.serve(s.work)
	})
}

// twin reports whether the same attempt is open already. The caller holds mu.
func (s *shift) twin(a *task) bool {
	for b := range s.tasks {
		if b.Is(a.Delivery) {
			return true
		}
	}
	return false
}

// freed counts slots that go back to the puller.
func (s *shift) freed(slots int) {
	s.mu.Lock()
	s.used -= slots
	s.mu.Unlock()
	s.executing.add(-1)
}

func (s *shift) forget(a *task) {
	s.mu.Lock()
	delete(s.tasks, a)
	s.finished++
	s.busy = time.Now()
	s.mu.Unlock()
	s.unsettled.add(-1)
}

// each calls f with every open attempt.
func (s *shift) each(f func(*task)) {
	s.mu.Lock()
	all := make([]*task, 0, len(s.tasks))
	for a := range s.tasks {
		all = append(all, a)
	}
	s.mu.Unlock()
	for _, a := range all {
		f(a)
	}
}
