package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/schedule"
)

// perform carries out one decision.
func (l *loop) perform(ctx context.Context, a schedule.Action) {
	switch a := a.(type) {
	case schedule.Prepare:
		l.tasks.add(func() { l.prepare(ctx, a) })
	case schedule.Fetch:
		l.tasks.add(func() { l.fetch(ctx, a) })
	case schedule.Publish:
		l.publish(ctx, a)
	case schedule.Close:
		l.tasks.add(func() { l.close(ctx, a) })
	case schedule.Ask:
		a.Cancel.Run = l.run
		key := l.attemptKey(jobs.AttemptID{Module: a.Cancel.Module, Attempt: a.Cancel.Attempt})
		if err := l.broker.Control.SendWorker(a.Worker, key, jobs.Control{Cancel: &a.Cancel}); err != nil {
			l.cfg.Logger.Debug("sending a request to a worker failed; it is repeated", "module", a.Cancel.Module, "error", err)
		}
	case schedule.Probe:
		l.probe(a, l.takeover.key)
	case schedule.Lock:
		l.lock(ctx, a)
	case schedule.Unlock:
		l.unlock(ctx, a)
	case schedule.Deliver:
		l.tasks.add(func() { l.deliver(ctx, a) })
	case schedule.Lookup:
		l.tasks.add(func() { l.lookUp(ctx, a) })
	case schedule.Conclude:
		l.conclude(ctx, a)
	case schedule.FindDirs:
		l.tasks.add(func() { l.findDirs(ctx, a) })
	case schedule.KeepDirs:
		l.tasks.add(func() { l.keepDirs(ctx, a) })
	case schedule.Write:
		l.tasks.add(func() { l.append(ctx, "", a.Expect, a.Record) })
	case schedule.Audit:
		l.tasks.add(func() { l.audit(ctx, a) })
	case schedule.CancelRun:
		l.tasks.add(func() { l.append(ctx, "", a.Expect, jobs.Record{Cancel: &a.Cancel}) })
	case schedule.Finish:
		l.tasks.add(func() { l.append(ctx, "", 0, jobs.Record{End: &a.End}) })
	default:
		l.failure = fmt.Errorf("run %s: this program cannot carry out a decision of type %T: please report this", l.run, a)
	}
}

// answer passes the result of a task to the loop, which calls f.
func (l *loop) answer(ctx context.Context, f func()) {
	select {
	case l.answers <- f:
	case <-ctx.Done():
	}
}

// fail ends the loop with a permanent error, unless ctx has ended.
func (l *loop) fail(ctx context.Context, err error) {
	if ctx.Err() == nil {
		l.answer(ctx, func() { l.failure = err })
	}
}

// prepare creates a lane and enters it in the bucket of lanes.
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

// append writes a record. It ignores a conflict: the entry that was first is in
// the log and reaches the loop.
func (l *loop) append(ctx context.Context, cell jobs.ModuleID, expect uint64, rec jobs.Record) {
	if _, err := l.runs.Append(ctx, l.run, cell, expect, rec); err != nil && !errors.Is(err, broker.ErrConflict) {
		l.fail(ctx, err)
	}
}

// close records an outcome in a worker's place. It removes the job from the queue
// first, if the action asks for it.
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

// signed returns an outcome with the name of the orchestrator that records it in
// a worker's place. The name is in By and in the error text. An outcome that a
// worker has recorded stays as it is.
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

// audit notifies the dispatcher when a job is missing from the queue, and creates the
// consumer of its lane again if that is missing.
func (l *loop) audit(ctx context.Context, a schedule.Audit) {
	if err := l.broker.Queue.EnsureLane(ctx, a.Lane); err != nil {
		l.fail(ctx, err)
		return
	}
	queued, err := l.broker.Queue.Has(ctx, a.Lane, l.run, a.ID)
	if err != nil {
		l.fail(ctx, err)
		return
	}
	if !queued {
		l.answer(ctx, func() { l.dispatcher.Missing(a.ID) })
	}
}

// fetch loads values that are stored by reference, and the list of the files of the
// snapshot. It stops at the first error.
func (l *loop) fetch(ctx context.Context, a schedule.Fetch) {
	values := make([]jobs.Value, len(a.Refs))
	var err error
	if a.Snapshot {
		a.HashFiles, err = l.cache.files.hashes(ctx)
	}
	for i, ref := range a.Refs {
		if err != nil {
			break
		}
		if values[i], err = l.broker.Values.Load(ctx, ref.Value); err != nil {
			err = ref.Unread(err)
		}
	}
	l.answer(ctx, func() {
		l.dispatcher.Fetched(a, values, err)
		l.fetched = true
	})
}

// storeWithin is how long the server may take to store a job before a worker
// checks that the job may still start. The time is shorter when the lease ends
// sooner, because another orchestrator may then have ended the run.
const storeWithin = 5 * time.Second

// publish sends a job to the queue. It does not wait for the answer.
func (l *loop) publish(ctx context.Context, a schedule.Publish) {
	now := l.now()
	job, id := a.Job, a.ID()
	job.StoreBy, job.Key = l.storeBy(now), l.attemptKey(id)
	if job.Files != nil && l.cfg.Namespace != "" { // files are stored beside the entries that refer to them
		job.Files.Namespace = l.cfg.Namespace
	}
	for _, w := range job.Warnings {
		l.cfg.Logger.Warn(w, "module", job.Name)
	}
	p := &publication{answered: make(chan struct{}), until: time.Now().Add(job.StoreBy.Sub(now))}
	l.sent.Store(id, p)
	l.broker.Queue.Publish(ctx, job, func(err error) {
		if err == nil || errors.Is(err, broker.ErrConflict) || errors.Is(err, broker.ErrReconnected) { // the last was not sent
			l.sent.CompareAndDelete(id, p)
			close(p.answered)
		}
		l.published(ctx, a, err)
	})
}

// publication is a publication without an answer. The server processes purges
// and publications independently. A purge that overtakes the job would leave it
// in the queue, and the job would start after its attempt or its run has ended.
type publication struct {
	answered chan struct{}
	until    time.Time // a worker checks a job that is stored later before it starts
}

// await returns when the job may be purged: after the answer, at until, or when
// ctx ends.
func (p *publication) await(ctx context.Context) {
	late := time.NewTimer(time.Until(p.until))
	defer late.Stop()
	select {
	case <-p.answered:
	case <-late.C:
	case <-ctx.Done():
	}
}

// unanswered returns the time until which the server may store a publication
// without an answer; zero = every publication is answered.
func (l *loop) unanswered() (until time.Time) {
	l.sent.Range(func(_, p any) bool {
		if by := p.(*publication).until; by.After(until) {
			until = by
		}
		return true
	})
	return until
}

// storeBy returns the time, by the log's clock, by which the server must have
// stored a job that is published now.
func (l *loop) storeBy(now time.Time) time.Time {
	by, end := now.Add(storeWithin), l.cfg.Lease.Until().Add(l.ahead)
	if end.Before(by) {
		return end
	}
	return by
}

// published handles the answer to the publication of a job.
func (l *loop) published(ctx context.Context, a schedule.Publish, err error) {
	switch {
	case err == nil, errors.Is(err, broker.ErrConflict):
	case errors.Is(err, broker.ErrDenied), errors.Is(err, broker.ErrReconnected):
		l.fail(ctx, err)
	case errors.Is(err, broker.ErrTooLarge): // a repetition would fail, too
		l.answer(ctx, func() { l.dispatcher.Unpublished(a.Node, a.ID(), time.Time{}, err) })
	default:
		l.cfg.Logger.Debug("the publication of a job was not answered", "module", a.Module, "error", err)
		l.answer(ctx, func() { l.dispatcher.Unpublished(a.Node, a.ID(), a.StoreBy, nil) })
	}
}
