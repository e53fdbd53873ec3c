package simulate

import (
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/schedule"
)

// storeWithin is how long the server may take to store a job before a copy of
// it is doubtful.
const storeWithin = 5 * time.Second

// publication is one whose fate is not known. A purge that overtook it would
// leave its job in the queue.
type publication struct {
	by   time.Time // on our own clock: what is stored later is looked at before it starts
	then []func()  // when it is
}

// perform carries out one decision.
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
	case schedule.Write:
		d.append("", a.Expect, a.Record, func(uint64) {})
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
		d.append("", a.Expect, jobs.Record{Cancel: &a.Cancel}, func(uint64) {})
	case schedule.Finish:
		d.append("", 0, jobs.Record{End: &a.End}, func(uint64) {})
	default:
		d.o.w.fail("an action that the simulator does not know: %T", a)
	}
}

// storeBy is less than storeWithin away when the lease ends sooner.
func (l *loop) storeBy() time.Time {
	by, end := l.now().Add(storeWithin), l.d.leased.Add(l.ahead)
	if end.Before(by) {
		return end
	}
	return by
}

func (l *loop) publish(a schedule.Publish) {
	d, job, id := l.d, a.Job, a.ID()
	job.StoreBy = l.storeBy()
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
		d.o.after(job.StoreBy.Sub(l.now()), "a publication is in doubt no more", d.during(known))
		l.answered(func() { l.dispatcher.Unpublished(a.Node, id, job.StoreBy, nil) })()
	})
}

func (l *loop) close(a schedule.Close) {
	d := l.d
	record := func() { d.append(a.Cell, a.Expect, jobs.Record{Outcome: &a.Outcome}, func(uint64) {}) }
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

// ask tells every worker; whose attempt it is ends it.
func (l *loop) ask(a schedule.Ask) {
	w, run := l.d.o.w, l.d.run.id
	w.tell(l.d.o.party, "ask for an end", func() {
		for _, k := range w.workers {
			if k.alive && !k.cutIn && k.connected() && !w.chance(w.net.loss) {
				w.after(w.delay(), k.party, "is asked to end an attempt", func() { k.cancel(run, &a.Cancel) })
			}
		}
	})
}

// probe asks one worker.
func (l *loop) probe(a schedule.Probe) {
	w := l.d.o.w
	w.tell(l.d.o.party, "ask what a worker runs", func() {
		for _, k := range w.workers {
			if k.name == a.Worker && k.alive && !k.cutIn && k.connected() && !w.chance(w.net.loss) {
				w.after(w.delay(), k.party, "is asked what it runs", func() { k.probed(&a.Probe) })
			}
		}
	})
}
