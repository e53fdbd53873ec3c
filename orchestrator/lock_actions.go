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

// lock takes keys and limits of the cluster for an attempt.
func (l *loop) lock(ctx context.Context, a schedule.Lock) {
	l.locks.want(a.Locks)
	l.tasks.add(func() {
		if !l.locks.await(ctx) {
			return
		}
		by, err := l.locks.taker.Take(ctx, a.ID, a.Locks)
		if err != nil {
			l.fail(ctx, fmt.Errorf("take the keys of module %s: %w", a.ID.Module, err))
			return
		}
		l.answer(ctx, func() {
			l.dispatcher.Locked(a.Node, a.ID, by == nil)
			l.sayHeld(a, by)
		})
	})
}

func (l *loop) unlock(ctx context.Context, a schedule.Unlock) {
	l.locks.want(a.Locks)
	l.tasks.add(func() {
		if !l.locks.await(ctx) {
			return
		}
		if err := l.locks.taker.GiveBack(ctx, a.ID, a.Locks); err != nil {
			l.fail(ctx, fmt.Errorf("give back the keys of module %s: %w", a.ID.Module, err))
		}
	})
}

// watchLocks has the dispatcher hear of what was given back.
func (l *loop) watchLocks(ctx context.Context) error {
	return l.locks.watch(ctx, func() { l.answer(ctx, func() { l.dispatcher.LocksChanged() }) })
}

// inquire has the loop, which owns the fleet, say how an attempt of another
// run may be closed.
func (l *loop) inquire(ctx context.Context, state *schedule.Run, id jobs.AttemptID) (schedule.Close, bool) {
	answer := make(chan *schedule.Close, 1) // the loop does not wait for us
	l.answer(ctx, func() {
		defer close(answer)
		if !l.fleet.Calm(l.now()) {
			return
		}
		if p, ok := state.Unlisted(id, l.fleet); ok {
			l.probe(p)
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

// sayHeld tells people once for what a module waits, and who has it.
func (l *loop) sayHeld(a schedule.Lock, by *locks.Refusal) {
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
	l.say(report.Event{
		Event: report.EventWaiting, Module: l.state.Module(a.Node).Name,
		Missing: fmt.Sprintf("%s %s of the cluster, which %s of run %s holds", kind, by.Lock.Name, by.By.Module, by.By.Run),
	})
}

// leaveLocks gives back what an ended run holds of the cluster: whoever wrote
// its end may not have lived to do it. What is left by a failure of this is
// found to be free by whoever needs it.
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
		cfg.Logger.Debug("what the run held of the cluster was not given back", "run", run, "error", err)
	}
}
