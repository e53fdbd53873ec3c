package orchestrator

import (
	"context"
	"fmt"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// lock acquires keys and limits of the cluster for an attempt, and passes the
// result to the dispatcher.
func (l *loop) lock(ctx context.Context, a schedule.Lock) {
	l.locks.want(a.Locks)
	l.tasks.add(func() {
		if !l.locks.await(ctx) {
			return
		}
		by, err := l.locks.taker.Take(ctx, a.ID, a.Locks)
		if err != nil {
			l.fail(ctx, fmt.Errorf("acquire the keys of module %s: %w", a.ID.Module, err))
			return
		}
		l.answer(ctx, func() {
			l.dispatcher.Locked(a.Node, a.ID, by == nil)
			l.notifyHeld(a, by)
		})
	})
}

// unlock releases keys and limits of the cluster that an attempt holds.
func (l *loop) unlock(ctx context.Context, a schedule.Unlock) {
	l.locks.want(a.Locks)
	l.tasks.add(func() {
		if !l.locks.await(ctx) {
			return
		}
		if err := l.locks.taker.GiveBack(ctx, a.ID, a.Locks); err != nil {
			l.fail(ctx, fmt.Errorf("release the keys of module %s: %w", a.ID.Module, err))
		}
	})
}

// watchLocks notifies the dispatcher when another run releases a lock that this
// run has asked for.
func (l *loop) watchLocks(ctx context.Context) error {
	return l.locks.watch(ctx, func() { l.answer(ctx, func() { l.dispatcher.LocksChanged() }) })
}

// inquire returns how an attempt of another run may be closed, and whether it
// may be closed now. The loop answers, because it owns the fleet.
func (l *loop) inquire(ctx context.Context, state *schedule.Run, id jobs.AttemptID) (schedule.Close, bool) {
	answer := make(chan *schedule.Close, 1) // buffered: the loop does not wait for the receiver
	l.answer(ctx, func() {
		defer close(answer)
		if !l.fleet.Calm(l.now()) {
			return
		}
		if p, ok := state.Unlisted(id, l.fleet); ok {
			l.probe(p, l.broker.Keys().RunKey(state.Key(), p.Probe.Run))
		}
		if c, may := state.Reclaim(id, l.fleet, l.now()); may {
			answer <- &c
		}
	})
	select {
	case c := <-answer:
		if c != nil {
			return *c, true
		}
	case <-ctx.Done():
	}
	return schedule.Close{}, false
}

// notifyHeld sends one event with the lock that a module waits for and its
// holder. It sends another one when either changes.
func (l *loop) notifyHeld(a schedule.Lock, by *locks.Refusal) {
	if by == nil {
		delete(l.waits, a.Node)
		return
	}
	if l.waits[a.Node] == *by {
		return
	}
	l.waits[a.Node] = *by
	kind := "key"
	if by.Lock.Limit {
		kind = "limit"
	}
	l.notify(report.Event{
		Event: report.EventWaiting, Module: l.state.Module(a.Node).Name,
		Missing: fmt.Sprintf("%s %s of the cluster, which %s of run %s holds", kind, by.Lock.Name, by.By.Module, by.By.Run),
	})
}

// leaveLocks releases the keys and limits that an ended run holds of the
// cluster. The orchestrator that recorded the end may have died before it
// released them. When leaveLocks fails, the next run that needs one of them
// finds that its holder has ended.
func leaveLocks(ctx context.Context, c *broker.Conn, cfg Config, state *schedule.Run) {
	used := state.Locks()
	if len(used) == 0 {
		return
	}
	run := state.Spec().Run
	bucket, err := kv.OpenLocks(ctx, c.Conn)
	if err == nil {
		err = locks.Leave(ctx, bucket, run, used)
	}
	if err != nil {
		cfg.Logger.Debug("releasing the cluster locks of the run failed; they count as free", "run", run, "error", err)
	}
}
