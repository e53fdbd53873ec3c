package orchestrator

import (
	"context"
	"errors"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/schedule"
)

// perform carries out one decision. It reports whether it was answered at
// once, so that there may be more to decide.
func (l *loop) perform(ctx context.Context, a schedule.Action) bool {
	switch a := a.(type) {
	case schedule.Prepare:
		l.tasks.add(func() { l.prepare(ctx, a) })
	case schedule.Evaluate:
		return l.evaluate(ctx, a)
	case schedule.Expand:
		return l.expand(ctx, a)
	case schedule.Publish:
		return l.publish(ctx, a)
	case schedule.Close:
		l.tasks.add(func() { l.close(ctx, a) })
	case schedule.Ask:
		if err := l.broker.Control.SendRun(l.run, jobs.Control{Cancel: &a.Cancel}); err != nil {
			l.cfg.Logger.Debug("a request to a worker was not sent; it is repeated", "module", a.Cancel.Module, "error", err)
		}
	case schedule.Probe:
		l.probe(a)
	case schedule.Lock:
		l.lock(ctx, a)
	case schedule.Unlock:
		l.unlock(ctx, a)
	case schedule.Write:
		l.tasks.add(func() { l.append(ctx, "", a.Expect, a.Record) })
	case schedule.Audit:
		l.tasks.add(func() { l.audit(ctx, a) })
	case schedule.CancelRun:
		l.tasks.add(func() { l.append(ctx, "", a.Expect, jobs.Record{Cancel: &a.Cancel}) })
	case schedule.Finish:
		l.tasks.add(func() { l.append(ctx, "", 0, jobs.Record{End: &a.End}) })
	}
	return false
}

// answer hands what became of a task to the loop.
func (l *loop) answer(ctx context.Context, f func()) {
	select {
	case l.answers <- f:
	case <-ctx.Done():
	}
}

// fail ends the loop with an error that does not pass.
func (l *loop) fail(ctx context.Context, err error) {
	if ctx.Err() == nil {
		l.answer(ctx, func() { l.failure = err })
	}
}

func (l *loop) prepare(ctx context.Context, a schedule.Prepare) {
	if err := l.broker.Queue.EnsureLane(ctx, a.Lane); err != nil {
		l.fail(ctx, err)
		return
	}
	revision, err := l.lanes.Put(ctx, a.Lane, a.Set)
	if err != nil {
		l.fail(ctx, err)
		return
	}
	l.prepared.Store(a.Lane, a)
	l.answer(ctx, func() { l.dispatcher.Prepared(a.Lane, revision) })
}

// append writes a record. A refusal needs nothing: whoever was first stands
// in the log, and its entry arrives.
func (l *loop) append(ctx context.Context, cell jobs.ModuleID, expect uint64, rec jobs.Record) {
	if _, err := l.broker.Runs.Append(ctx, l.run, cell, expect, rec); err != nil && !errors.Is(err, broker.ErrConflict) {
		l.fail(ctx, err)
	}
}

func (l *loop) close(ctx context.Context, a schedule.Close) {
	if a.Purge != nil {
		if p, ok := l.sent.Load(*a.Purge); ok {
			p.(*publication).await(ctx)
		}
		if err := l.broker.Queue.Purge(ctx, a.Lane, l.run, *a.Purge); err != nil {
			l.fail(ctx, err)
			return
		}
	}
	l.append(ctx, a.Cell, a.Expect, jobs.Record{Outcome: signed(a.Outcome, l.cfg.Name)})
}

// signed is an outcome with the name of the orchestrator that records it in a
// worker's place, also where people read why.
func signed(o jobs.Outcome, name string) *jobs.Outcome {
	if o.By == "" || name == "" {
		return &o
	}
	o.By = name
	if o.Error != "" {
		o.Error += " (recorded by orchestrator " + name + ")"
	}
	return &o
}

func (l *loop) audit(ctx context.Context, a schedule.Audit) {
	queued, err := l.broker.Queue.Has(ctx, a.Lane, l.run, a.ID)
	if err != nil {
		l.fail(ctx, err)
		return
	}
	if !queued {
		l.answer(ctx, func() { l.dispatcher.Missing(a.ID) })
	}
}

func (l *loop) evaluate(ctx context.Context, a schedule.Evaluate) bool {
	m := l.state.Module(a.Node)
	return l.withScope(ctx, l.state.Needs(a.Node), m.ConditionReads(), func(s pipeline.Scope, err error) {
		holds := false
		if err == nil {
			holds, err = l.state.Spec().Pipeline.Condition(m, s)
		}
		l.dispatcher.Evaluated(a.Node, holds, err)
	})
}

func (l *loop) expand(ctx context.Context, a schedule.Expand) bool {
	m := l.state.Module(a.Node)
	return l.withScope(ctx, l.state.Needs(a.Node), m.Dynamic.Reads, func(s pipeline.Scope, err error) {
		var combinations [][]pipeline.Pair
		if err == nil {
			combinations, err = l.state.Spec().Pipeline.Combinations(m, s)
		}
		l.dispatcher.Expanded(a.Node, combinations, err)
	})
}

// storeWithin is how long the server may take to store a job before a copy of
// it is doubtful. It is less when our lease ends sooner: what arrives when
// somebody else may have ended the run is looked at before it starts.
const storeWithin = 5 * time.Second

func (l *loop) publish(ctx context.Context, a schedule.Publish) bool {
	m := l.state.Module(a.Node)
	now := l.now()
	by := l.storeBy(now)
	p := &publication{answered: make(chan struct{}), until: time.Now().Add(by.Sub(now))}
	l.sent.Store(a.ID, p)
	answered := false
	send := func(s pipeline.Scope, err error) {
		var job *jobs.Job
		if err == nil {
			job, err = l.job(a, m, s)
		}
		if err != nil {
			answered = true
			l.dispatcher.Unpublished(a.Node, a.ID, time.Time{}, err)
			return
		}
		job.StoreBy = by
		l.broker.Queue.Publish(ctx, job, func(err error) {
			if err == nil || errors.Is(err, broker.ErrConflict) || errors.Is(err, broker.ErrReconnected) { // the last was not sent
				l.sent.CompareAndDelete(a.ID, p)
				close(p.answered)
			}
			l.published(ctx, a, job, err)
		})
	}
	if m.Static() {
		send(pipeline.Scope{}, nil)
	} else {
		l.withScope(ctx, l.state.Needs(a.Node), m.TextReads(), send)
	}
	return answered
}

// publication is one that is not answered. The server handles a purge apart
// from what it stores: one that overtook the job would leave it in the queue,
// where it starts after its attempt, or its run, has ended.
type publication struct {
	answered chan struct{}
	until    time.Time // what is stored later is looked at before it starts
}

// await returns when the job may be purged.
func (p *publication) await(ctx context.Context) {
	late := time.NewTimer(time.Until(p.until))
	defer late.Stop()
	select {
	case <-p.answered:
	case <-late.C:
	case <-ctx.Done():
	}
}

// unanswered is until when a publication that was not answered may be stored.
func (l *loop) unanswered() (until time.Time) {
	l.sent.Range(func(_, p any) bool {
		if by := p.(*publication).until; by.After(until) {
			until = by
		}
		return true
	})
	return until
}

func (l *loop) storeBy(now time.Time) time.Time {
	by, end := now.Add(storeWithin), l.cfg.Lease.Until().Add(l.ahead)
	if end.Before(by) {
		return end
	}
	return by
}

func (l *loop) published(ctx context.Context, a schedule.Publish, job *jobs.Job, err error) {
	switch {
	case err == nil, errors.Is(err, broker.ErrConflict):
	case errors.Is(err, broker.ErrDenied), errors.Is(err, broker.ErrReconnected):
		l.fail(ctx, err)
	case errors.Is(err, broker.ErrTooLarge): // at every try
		l.answer(ctx, func() { l.dispatcher.Unpublished(a.Node, a.ID, time.Time{}, err) })
	default:
		l.cfg.Logger.Debug("the publication of a job was not answered", "module", a.ID.Module, "error", err)
		l.answer(ctx, func() { l.dispatcher.Unpublished(a.Node, a.ID, job.StoreBy, nil) })
	}
}
