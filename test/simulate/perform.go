package simulate

import (
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/schedule"
)

// storeWithin is the longest time in which the server may store a job before a
// copy of it is doubtful.
const storeWithin = 5 * time.Second

// publication is a publication with an unknown result. A purge that overtook it
// would leave its job in the queue.
type publication struct {
	by   time.Time // on the party's clock; a job that is stored later counts as doubtful
	then []func()  // called when the result is known
}

// perform executes one decision.
func (l *loop) perform(a schedule.Action) {
	d, s := l.d, l.d.o.w.server
	switch a := a.(type) {
	case schedule.Prepare:
		d.persist("prepare a lane", func() func() {
			return l.answered(func() { l.dispatcher.Prepared(a.Lane, 1) })
		})
	case schedule.Fetch:
		l.fetch(a)
	case schedule.Publish:
		l.publish(a)
	case schedule.Close:
		l.close(a)
	case schedule.Ask:
		l.ask(a)
	case schedule.Probe:
		l.probe(a)
	case schedule.Lock:
		l.lock(a)
	case schedule.Unlock:
		l.unlock(a)
	case schedule.Lookup:
		l.lookUp(a)
	case schedule.Conclude:
		l.conclude(a)
	case schedule.Write:
		d.append("", a.Expect, "", a.Record, func(uint64) {})
	case schedule.Audit:
		d.persist("audit", func() func() {
			queued := s.find(d.run.id, a.ID) >= 0
			return l.answered(func() {
				if !queued {
					l.dispatcher.Missing(a.ID)
				}
			})
		})
	case schedule.CancelRun:
		d.append("", a.Expect, "", jobs.Record{Cancel: &a.Cancel}, func(uint64) {})
	case schedule.Finish:
		d.append("", 0, "", jobs.Record{End: &a.End}, func(uint64) {})
	default:
		d.o.w.fail("the simulator does not know the action %T", a)
	}
}

// storeBy is when a job must be stored: after storeWithin, or at the end of the
// lease when that is sooner.
func (l *loop) storeBy() time.Time {
	by, end := l.now().Add(storeWithin), l.d.leased.Add(l.ahead)
	if end.Before(by) {
		return end
	}
	return by
}

func (l *loop) publish(a schedule.Publish) {
	d, job, id := l.d, a.Job, a.ID()
	job.StoreBy, job.Key = l.storeBy(), []byte(attemptCode(l.state.Key(), d.run.id, id))
	p := &publication{by: job.StoreBy.Add(-l.ahead)}
	l.publishing[id] = p
	known := func() {
		delete(l.publishing, id)
		for _, f := range p.then {
			f()
		}
	}
	d.call(publishing, func() func() {
		d.o.w.server.publish(job)
		return known
	}, func() {
		d.o.after(job.StoreBy.Sub(l.now()), "a publication is no longer in doubt", d.during(known))
		l.answered(func() { l.dispatcher.Unpublished(a.Node, id, job.StoreBy, nil) })()
	})
}

func (l *loop) close(a schedule.Close) {
	d := l.d
	signed := attemptCode(l.state.Key(), d.run.id, jobs.AttemptID{Module: a.Cell, Attempt: a.Outcome.Attempt})
	record := func() { d.append(a.Cell, a.Expect, signed, jobs.Record{Outcome: &a.Outcome}, func(uint64) {}) }
	if a.Purge == nil {
		record()
		return
	}
	purge := func() {
		d.persist("purge a job", func() func() {
			d.o.w.server.purge(d.run.id, *a.Purge)
			return record
		})
	}
	if p := l.publishing[*a.Purge]; p != nil {
		p.then = append(p.then, purge)
		return
	}
	purge()
}

// ask sends a request to end an attempt to the worker that has claimed it.
func (l *loop) ask(a schedule.Ask) {
	w, run := l.d.o.w, l.d.run.id
	signed := attemptCode(l.state.Key(), run, jobs.AttemptID{Module: a.Cancel.Module, Attempt: a.Cancel.Attempt})
	w.tell(l.d.o.party, "request the end of an attempt", func() {
		for _, k := range w.workers {
			if k.name == a.Worker && k.alive && !k.cutIn && k.connected() && !w.chance(w.net.loss) {
				w.after(w.delay(), k.party, "receives a request to end an attempt", func() { k.cancel(run, &a.Cancel, signed) })
			}
		}
	})
}

// probe asks one worker whether it runs an attempt.
func (l *loop) probe(a schedule.Probe) {
	w := l.d.o.w
	a.Probe.Key = []byte(attemptCode(w.server.logs[a.Probe.Run].secret, a.Probe.Run, jobs.AttemptID{Module: a.Probe.Module, Attempt: a.Probe.Attempt}))
	w.tell(l.d.o.party, "send a probe", func() {
		for _, k := range w.workers {
			if k.name == a.Worker && k.alive && !k.cutIn && k.connected() && !w.chance(w.net.loss) {
				w.after(w.delay(), k.party, "receives a probe", func() { k.probed(&a.Probe) })
			}
		}
	})
}
