package orchestrator

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/internal/secrets"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// loop owns a run. Only the goroutine of loop.loop uses its fold, its dispatcher
// and its fleet.
type loop struct {
	broker *broker.Conn
	runs   *broker.Runs // signs what this orchestrator writes into cells
	cfg    Config
	lanes  *kv.Lanes
	run    jobs.RunID

	connection uint64 // number of the connection on which the log was read
	takeover   takeover
	fencing    kv.Epoch // of fencing tokens

	state      *schedule.Run
	dispatcher *schedule.Dispatcher
	fleet      *schedule.Fleet
	greeter    *greeter
	ours       bool          // the takeover of this loop is folded: the loop may decide
	ahead      time.Duration // the log's clock minus this machine's clock
	due        time.Time     // when the timer fires

	entries chan jobs.Entry // buffered: the loop folds a burst of results before one decision
	changes chan kv.Change
	answers chan func() // results of tasks, for the loop to apply
	tasks   *tasks
	sent    sync.Map // jobs.AttemptID → *publication: the jobs whose publication is not answered
	locks   *shared
	waits   map[int]locks.Refusal // by module: the last refusal of a cluster lock that was notified
	cache   *cache
	secrets *secrets.OfRun
	lacking map[jobs.AttemptID]string // why secrets are missing, as it was told last
	refusal string                    // why the run is not to begin; empty = it may
	failure error                     // of a task: the loop ends with it
	fetched bool                      // the last answer has brought fetched values
	broken  chan error                // the panic of a task

	prepared sync.Map      // jobs.Lane → schedule.Prepare: the lanes that were entered
	ttl      time.Duration // of a worker's entry in the registry
}

const (
	entriesBuffered = 1024 // log entries that wait for the loop
	changesBuffered = 256  // changes of a watch that wait for the loop
)

// newLoop returns the loop of a run that this orchestrator has taken over. state
// is the fold of the log before the takeover.
func newLoop(c *broker.Conn, cfg Config, b buckets, state *schedule.Run, t takeover, fencing kv.Epoch) *loop {
	l := &loop{
		broker: c, runs: c.Runs.ForRun(t.key), cfg: cfg, greeter: newGreeter(c, cfg.greeted), lanes: b.lanes, run: t.run, connection: c.Connection(), takeover: t, fencing: fencing,
		state: state, fleet: schedule.NewFleet(b.registry.TTL()),
		entries: make(chan jobs.Entry, entriesBuffered),
		changes: make(chan kv.Change, changesBuffered),
		answers: make(chan func()),
		broken:  make(chan error, 1), // the first panic ends the loop
		waits:   map[int]locks.Refusal{},
		secrets: cfg.Secrets.OfRun(state.Spec()), lacking: map[jobs.AttemptID]string{},
		ttl: b.registry.TTL(),
	}
	if cfg.Alone {
		l.fleet.Close()
	}
	l.tasks = newTasks(l.guard)
	l.cache = newCache(c, cfg, state.Spec(), t.epoch, fencing.Number, l.inquire)
	l.locks = newShared(c, cfg, l.run, t.epoch, fencing.Number, l.inquire)
	return l
}

// loop decides until the run has ended. It returns nil when the run has ended
// and its jobs are out of the queue.
func (l *loop) loop(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	l.due = time.Now().Add(time.Hour)
	again := l.broker.Reconnected(ctx)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-again:
		case e := <-l.entries:
			if err := l.fold(e); err != nil {
				return err
			}
		case ch := <-l.changes:
			l.change(ch)
		case f := <-l.answers:
			f()
		case err := <-l.broken:
			return err
		case <-timer.C:
		}
		l.fleet.Overslept(time.Since(l.due), l.now())
		if err := l.drain(); err != nil {
			return err
		}
		if l.broker.Connection() != l.connection {
			return fmt.Errorf("run %s: %w", l.run, broker.ErrReconnected)
		}
		if l.failure != nil {
			return l.failure
		}
		if l.state.Ended() != nil {
			return l.cleanUp(ctx)
		}
		if !l.ours {
			continue
		}
		if !time.Now().Before(l.cfg.Lease.Until()) {
			return fmt.Errorf("run %s: %w", l.run, kv.ErrLapsed) // this process was paused, and another orchestrator may decide
		}
		l.decide(ctx, timer)
	}
}

// guard runs a task; a panic in it ends the loop.
func (l *loop) guard(task func()) {
	err := runlog.Contain(l.cfg.Logger, l.run, func() error {
		task()
		return nil
	})
	if err == nil {
		return
	}
	select {
	case l.broken <- err:
	default:
	}
}

// drain takes all other events that have arrived, so that one decision covers
// them. It stops after an answer with fetched values. The loop carries out the
// decision on these values before it takes the next ones, so that only one set
// of values is in memory.
func (l *loop) drain() error {
	for range entriesBuffered {
		if l.fetched {
			l.fetched = false
			return nil
		}
		select {
		case e := <-l.entries:
			if err := l.fold(e); err != nil {
				return err
			}
		case ch := <-l.changes:
			l.change(ch)
		case f := <-l.answers:
			f()
		default:
			return nil
		}
	}
	return nil
}

// decide carries out the decisions of the dispatcher, and sets the timer to the
// next time at which the dispatcher may decide something.
func (l *loop) decide(ctx context.Context, timer *time.Timer) {
	actions, wake := l.dispatcher.Decide(l.now())
	for _, a := range actions {
		l.perform(ctx, a)
	}
	wait := time.Hour
	if l.failure != nil {
		wait = 0
	} else if !wake.IsZero() {
		wait = max(0, wake.Sub(l.now()))
	}
	timer.Reset(wait)
	l.due = time.Now().Add(wait)
}

// now returns the time by the log's clock.
func (l *loop) now() time.Time { return time.Now().Add(l.ahead) }

// fold applies an entry of the log to the run. It returns ErrSuperseded when the
// entry is the takeover of a newer orchestrator.
func (l *loop) fold(e jobs.Entry) error {
	if err := l.apply(e); err != nil {
		return fmt.Errorf("fold entry %d of run %s: %w", e.Sequence, l.run, err)
	}
	for _, n := range l.state.Noise() {
		l.warnOf(n)
	}
	if t := e.Record.Takeover; t != nil {
		switch {
		case e.Sequence == l.takeover.sequence:
			l.begin(e)
		case t.Epoch > l.takeover.epoch:
			return fmt.Errorf("run %s: %w: %s", l.run, ErrSuperseded, t.Orchestrator)
		}
		return nil
	}
	if l.ours { // the log's clock is not behind the time of an entry
		l.keepTime(max(l.ahead, time.Until(e.Time)))
	}
	return nil
}

// warnOf logs noise. It names the subject when a program forges records there.
func (l *loop) warnOf(n schedule.Noise) {
	log := l.cfg.Logger.With("run", l.run, "entry", n.Sequence, "reason", n.Why)
	switch {
	case n.Cell == "":
		log.Warn("skipped a stray record in the log of the run")
	case n.Attack():
		log.Warn("a program forges records in a module's log, or does not keep to the rules; later ones of this module are not logged: see who may publish to the subject",
			"module", l.state.NameOf(n.Cell), "subject", topology.Cell(l.run, n.Cell), "skipped", n.Records)
	default:
		log.Warn("skipped a stray record in a module's log", "module", l.state.NameOf(n.Cell))
	}
}

// begin creates the dispatcher after the takeover of this loop is folded. Until
// the connection is as old as the time to live of a worker's entry, a worker may
// hold a key that the log has lost. When the server may have lost records of the
// run, modules with a key wait until the fleet is calm.
func (l *loop) begin(e jobs.Entry) {
	l.ours = true
	l.keepTime(time.Until(e.Time))
	l.dispatcher = schedule.NewDispatcher(l.state, l.fleet)
	l.dispatcher.Fence(l.fencing.Number)
	if l.refusal != "" {
		l.dispatcher.Refuse(l.refusal)
	}
	if l.cfg.Alone {
		return
	}
	l.fleet.Quiet(l.now().Add(l.ttl - l.broker.ConnectedFor(l.connection)))
	if l.state.MayHaveLost(l.takeover.safe) {
		l.dispatcher.AwaitCalm()
	}
}

// answerQuestion answers a worker's question about an attempt. The answer is
// computed on the loop's goroutine.
func (l *loop) answerQuestion(ctx context.Context, q *jobs.Question) {
	l.answer(ctx, func() {
		if !l.ours || l.broker.Connection() != l.connection {
			return
		}
		a, ok := l.dispatcher.Answer(q, l.now())
		if !ok {
			return
		}
		l.cfg.Logger.Debug("answered a worker's question about an attempt", "run", l.run, "module", q.Module, "attempt", q.Attempt, "worker", q.Worker, "answer", a.State)
		key := l.attemptKey(jobs.AttemptID{Module: q.Module, Attempt: q.Attempt})
		if err := l.broker.Control.SendWorker(q.Worker, key, jobs.Control{Answer: &a}); err != nil {
			l.cfg.Logger.Debug("sending an answer to a worker failed; the worker asks again", "worker", q.Worker, "error", err)
		}
	})
}

// probe asks a worker whether it still runs an attempt that it has claimed. The key is
// that of the run.
func (l *loop) probe(p schedule.Probe, run signing.Key) {
	if err := l.greeter.probe(p.Worker, p.Probe, signing.AttemptKey(run, p.Probe.Module, p.Probe.Attempt)); err != nil {
		l.cfg.Logger.Debug("sending a question to a worker failed; it is repeated", "worker", p.Worker, "error", err)
	}
}

// keepTime sets how far the log's clock is ahead of this machine's clock. It
// shifts the fleet's times with it, because this machine's clock measures how
// long a worker is silent.
func (l *loop) keepTime(ahead time.Duration) {
	l.fleet.AdjustClock(ahead - l.ahead)
	l.ahead = ahead
}

// change applies a change of the registry to the fleet, and notifies of workers
// that have joined or are lost.
func (l *loop) change(ch kv.Change) {
	now := l.now()
	l.greeter.change(ch)
	switch {
	case ch.Began:
		l.fleet.WatchRestarted()
	case ch.Synced:
		l.fleet.WatchSynced(now)
	case ch.Beat:
	case ch.Gone:
		if l.fleet.Removed(ch.Worker.Name, ch.Left) {
			reason := "fell silent"
			if ch.Left {
				reason = "left"
			}
			l.notify(report.Event{Event: report.EventWorkerLost, Worker: ch.Worker.Name, Reason: reason})
		}
	default:
		if l.fleet.Heartbeat(ch.Worker, now) {
			l.notify(report.Event{Event: report.EventWorkerJoined, Worker: ch.Worker.Name, Slots: ch.Worker.Slots})
		}
	}
	l.fleet.WatchAlive(ch.At.Add(l.ahead))
}

// notify sends an event to Config.Fleet.
func (l *loop) notify(e report.Event) {
	if l.cfg.Fleet == nil {
		return
	}
	e.V, e.Run, e.Time = 1, string(l.run), l.now()
	l.cfg.Fleet(e)
}

// cleanUp removes the jobs of the ended run from the queue, and releases its
// keys and limits of the cluster.
func (l *loop) cleanUp(ctx context.Context) error {
	if err := l.broker.Queue.PurgeRun(ctx, l.run); err != nil {
		return fmt.Errorf("purge the jobs of run %s: %w", l.run, err)
	}
	leaveLocks(ctx, l.broker, l.cfg, l.state)
	return nil
}
