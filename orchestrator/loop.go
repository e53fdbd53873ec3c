package orchestrator

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// loop owns a run: its fold, its dispatcher and the fleet are touched by the
// goroutine of loop.loop only.
type loop struct {
	broker *broker.Conn
	cfg    Config
	lanes  *kv.Lanes
	run    jobs.RunID

	connection uint64 // number of the one on which the log was read
	takeover   takeover
	fencing    kv.Epoch // of fencing tokens

	state      *schedule.Run
	dispatcher *schedule.Dispatcher
	fleet      *schedule.Fleet
	ours       bool          // our takeover has been folded: we may decide
	ahead      time.Duration // the log's clock minus ours
	due        time.Time     // when timer rings

	entries chan jobs.Entry // buffered: a burst of results is folded in one go
	changes chan kv.Change
	answers chan func() // what became of tasks, for the loop to apply
	tasks   *tasks
	sent    sync.Map // jobs.Key → *publication: those that were not answered
	locks   *shared
	waits   map[int]locks.Refusal // what modules were last said to wait for in the cluster
	failure error                 // of a task: the run cannot go on here
	fetched bool                  // the answer that was taken last has brought fetched values
	broken  chan error            // that a task panicked

	prepared sync.Map      // jobs.Lane → schedule.Prepare: lanes that were entered
	ttl      time.Duration // of a worker's entry in the registry
}

const (
	entriesBuffered = 1024
	changesBuffered = 256
)

func newLoop(c *broker.Conn, cfg Config, b buckets, state *schedule.Run, t takeover, fencing kv.Epoch) *loop {
	l := &loop{
		broker: c, cfg: cfg, lanes: b.lanes, run: t.run, connection: c.Connection(), takeover: t, fencing: fencing,
		state: state, fleet: schedule.NewFleet(b.registry.TTL()),
		entries: make(chan jobs.Entry, entriesBuffered),
		changes: make(chan kv.Change, changesBuffered),
		answers: make(chan func()),
		broken:  make(chan error, 1), // one is enough
		waits:   map[int]locks.Refusal{},
		ttl:     b.registry.TTL(),
	}
	if cfg.Alone {
		l.fleet.Close()
	}
	l.tasks = newTasks(l.guard)
	l.locks = newShared(c, cfg, l.run, t.epoch, fencing.Number, l.inquire)
	return l
}

// loop returns nil when the run has ended and nothing of it is in the queue.
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
			return fmt.Errorf("run %s: %w", l.run, kv.ErrLapsed) // we were stopped, and others may decide by now
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

// drain takes what else has arrived, so that one decision serves it all. It
// stops at fetched values: the decision that they lead to is carried out before
// others are taken, so that one set of them is in memory.
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

// now is the time by the clock of the log.
func (l *loop) now() time.Time { return time.Now().Add(l.ahead) }

func (l *loop) fold(e jobs.Entry) error {
	if err := l.state.Apply(e); err != nil {
		return fmt.Errorf("fold entry %d of run %s: %w", e.Sequence, l.run, err)
	}
	for _, n := range l.state.Noise() {
		if n.Cell == "" {
			l.cfg.Logger.Warn("skipped a stray record in the log of the run", "run", l.run, "entry", n.Sequence, "reason", n.Why)
			continue
		}
		l.cfg.Logger.Warn("skipped a stray record in a module's log; later ones there are skipped without a word", "run", l.run, "module", l.state.NameOf(n.Cell), "entry", n.Sequence, "reason", n.Why)
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
	if l.ours { // an entry cannot be younger than the log's clock
		l.keepTime(max(l.ahead, time.Until(e.Time)))
	}
	return nil
}

// begin begins to decide, now that our takeover has been folded. What has a key
// is left alone for a while where the server may have been restarted.
func (l *loop) begin(e jobs.Entry) {
	l.ours = true
	l.keepTime(time.Until(e.Time))
	l.dispatcher = schedule.NewDispatcher(l.state, l.fleet)
	l.dispatcher.Fence(l.fencing.Number)
	if l.cfg.Alone {
		return
	}
	l.fleet.Quiet(l.now().Add(l.ttl - l.broker.ConnectedFor(l.connection)))
	if l.state.MayHaveLost(l.takeover.safe) {
		l.dispatcher.AwaitCalm()
	}
}

// asked answers a worker's question about an attempt, on the loop's goroutine.
func (l *loop) asked(ctx context.Context, q *jobs.Question) {
	l.answer(ctx, func() {
		if !l.ours || l.broker.Connection() != l.connection {
			return
		}
		a, ok := l.dispatcher.Answer(q, l.now())
		if !ok {
			return
		}
		l.cfg.Logger.Debug("answered whose an attempt is", "run", l.run, "module", q.Module, "attempt", q.Attempt, "worker", q.Worker, "answer", a.State)
		if err := l.broker.Control.SendWorker(q.Worker, jobs.Control{Answer: &a}); err != nil {
			l.cfg.Logger.Debug("an answer was not sent; the worker asks again", "worker", q.Worker, "error", err)
		}
	})
}

// probe asks a worker whether it still runs what it has claimed.
func (l *loop) probe(p schedule.Probe) {
	if err := l.broker.Control.SendWorker(p.Worker, jobs.Control{Probe: &p.Probe}); err != nil {
		l.cfg.Logger.Debug("a question to a worker was not sent; it is repeated", "worker", p.Worker, "error", err)
	}
}

// keepTime corrects what is known of the log's clock. How long a worker has
// been silent is measured by ours.
func (l *loop) keepTime(ahead time.Duration) {
	l.fleet.AdjustClock(ahead - l.ahead)
	l.ahead = ahead
}

func (l *loop) change(ch kv.Change) {
	now := l.now()
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
			l.say(report.Event{Event: report.EventWorkerLost, Worker: ch.Worker.Name, Reason: reason})
		}
	default:
		if l.fleet.Heartbeat(ch.Worker, now) {
			l.say(report.Event{Event: report.EventWorkerJoined, Worker: ch.Worker.Name, Slots: ch.Worker.Slots})
		}
	}
	l.fleet.WatchAlive(ch.At.Add(l.ahead))
}

func (l *loop) say(e report.Event) {
	if l.cfg.Fleet == nil {
		return
	}
	e.V, e.Run, e.Time = 1, string(l.run), l.now()
	l.cfg.Fleet(e)
}

// cleanUp removes what is left of the run from the queue, and from what all
// runs share.
func (l *loop) cleanUp(ctx context.Context) error {
	if err := l.broker.Queue.PurgeRun(ctx, l.run); err != nil {
		return fmt.Errorf("purge the jobs of run %s: %w", l.run, err)
	}
	leaveLocks(ctx, l.broker, l.cfg, l.state)
	return nil
}
