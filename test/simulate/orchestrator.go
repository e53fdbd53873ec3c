package simulate

import (
	"time"

	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/jobs"
)

// orchestrator is a process that decides for runs, each while it has the
// run's lease.
type orchestrator struct {
	*party
	serves   []*run // the runs that it decides for when nobody else does
	gone     bool   // for ever
	deciders map[jobs.RunID]*decider
	tasks    []*coroutine
}

// start makes it try to decide for every run.
func (o *orchestrator) start() {
	if o.gone {
		return
	}
	o.begin()
	o.deciders = map[jobs.RunID]*decider{}
	for _, r := range o.serves {
		o.serve(r)
	}
}

// serve makes it try to decide for a run.
func (o *orchestrator) serve(r *run) {
	d := &decider{o: o, run: r, instance: o.w.name(o.name + "/")}
	o.deciders[r.id] = d
	o.after(o.w.between(0, 200*time.Millisecond), "wants to decide for "+string(r.id), d.acquire)
}

func (o *orchestrator) kill() {
	o.w.note(o.name, "is killed")
	o.end()
}

// end forgets everything. What its deciders have asked the server for may still
// arrive there, and finds nobody.
func (o *orchestrator) end() {
	o.die()
	o.endTasks()
	for _, r := range o.serves {
		if d := o.deciders[r.id]; d != nil {
			d.endTerm()
		}
	}
	o.deciders = map[jobs.RunID]*decider{}
}

// leave is its death for ever.
func (o *orchestrator) leave() {
	if o.gone = true; o.alive {
		o.kill()
	}
}

// stop is a good-bye: what is under way is not gone on with.
func (o *orchestrator) stop() {
	o.w.note(o.name, "is told to stop")
	for _, r := range o.serves {
		if d := o.deciders[r.id]; d != nil && d.holds {
			d.giveBack(d.loop)
		}
	}
	o.end()
}

// reconnected is what it does with a new connection: whatever it knew of a log
// may be lost, so it takes each of its runs over as if another had decided
// before.
func (o *orchestrator) reconnected() {
	for _, r := range o.w.runs {
		switch d := o.deciders[r.id]; {
		case d == nil:
		case d.holds:
			d.retake()
		default:
			d.acquire()
		}
	}
}

// answer answers a worker's question about an attempt.
func (o *orchestrator) answer(run jobs.RunID, q *jobs.Question, k *worker) {
	d := o.deciders[run]
	if d == nil || d.loop == nil || d.loop.dispatcher == nil || d.loop.link != o.link {
		return
	}
	a, ok := d.loop.dispatcher.Answer(q, d.loop.now())
	if !ok {
		return
	}
	o.w.note(o.name, "answers", run, q.Module, q.Attempt, a.State)
	o.w.tell(o.party, "answer a question", func() {
		if k.alive && !k.cutIn && k.connected() && !o.w.chance(o.w.net.loss) {
			o.w.after(o.w.delay(), k.party, "hears an answer", func() { k.answered(&a) })
		}
	})
}

// decider is an orchestrator's part in one run: its lease, and while it has
// that, its loop.
type decider struct {
	o        *orchestrator
	run      *run
	instance string
	revision uint64
	leased   time.Time // until when it may act, on its own clock
	holds    bool
	epoch    uint64    // the newest that is known, of anybody's
	term     int       // grows with every lapse: what was begun in an earlier one is not gone on with
	scope    *scope    // of the term
	doubt    time.Time // until when what it has published may be stored, on its own clock
	tries    int       // to have the lease
	loop     *loop
	told     bool // has seen that nothing is left of the run
}

// during is f while the term lasts.
func (d *decider) during(f func()) func() {
	term := d.term
	return func() {
		if d.term == term {
			f()
		}
	}
}

// call sends a request of this term. Its answer counts while the term lasts: a
// request may reach the server, and its answer the decider, in a later one.
func (d *decider) call(what string, op func() func(), lost func()) {
	term := d.term
	d.o.w.call(d.o.party, what, func() func() {
		answer := op()
		return func() {
			if d.term == term {
				answer()
			}
		}
	}, d.during(lost))
}

// acquire takes the run's lease when nobody has it.
func (d *decider) acquire() {
	w, s := d.o.w, d.o.w.server
	if d.run.clean || d.holds || d.told {
		return
	}
	d.tries++
	try := d.tries
	again := d.during(func() {
		d.o.after(w.between(200*time.Millisecond, time.Second), "wants to decide", d.during(func() {
			if d.tries == try { // else it has tried since
				d.acquire()
			}
		}))
	})
	d.call("read the lease", func() func() {
		e := s.leases[d.run.id]
		if e != nil && e.value.instance != d.instance {
			return again
		}
		var revision, epoch uint64
		if e != nil {
			revision, epoch = e.revision, e.value.epoch
		}
		return func() {
			d.epoch = max(d.epoch, epoch)
			d.take(revision, d.lead, again)
		}
	}, again)
}

// take writes the lease where its entry has the given revision (0: there is none).
func (d *decider) take(revision uint64, then, refused func()) {
	s := d.o.w.server
	sent, me := d.o.now(), leaseHolder{d.instance, d.epoch}
	d.call("take the lease", func() func() {
		var have uint64
		if e := s.leases[d.run.id]; e != nil {
			have = e.revision
		}
		if have != revision {
			return refused
		}
		s.revision++
		now := s.revision
		s.leases[d.run.id] = &entry[leaseHolder]{me, now, s.clock()}
		s.sweepLater()
		return func() {
			d.revision, d.leased = now, sent.Add(leaseTTL-leaseMargin)
			then()
		}
	}, refused)
}

// lead begins to decide, and to renew.
func (d *decider) lead() {
	if d.holds {
		return // it had tried twice
	}
	d.holds = true
	d.scope = &scope{p: d.o.party}
	d.o.w.note(d.o.name, "has the lease of", d.run.id)
	d.o.after(leaseTTL/3, "renews its lease", d.during(d.renew))
	d.watchLease()
	d.takeOver()
}

func (d *decider) renew() {
	d.o.after(leaseTTL/3, "renews its lease", d.during(d.renew))
	d.write(func() {})
}

// write renews the entry, also one that has gone meanwhile; somebody else's
// ends the term.
func (d *decider) write(then func()) {
	d.take(d.revision, then, func() {
		s := d.o.w.server
		d.call("read the lease", func() func() {
			e := s.leases[d.run.id]
			if e == nil {
				return func() { d.take(0, then, func() {}) }
			}
			if e.value.instance == d.instance {
				return func() { d.take(e.revision, then, func() {}) }
			}
			return d.lapse
		}, func() {})
	})
}

// watchLease stops when the lease has lapsed.
func (d *decider) watchLease() {
	d.o.w.after(d.o.until(d.leased)+d.o.w.between(0, 20*time.Millisecond), d.o.party, "looks at its lease", d.during(func() {
		if d.o.now().Before(d.leased) {
			d.watchLease()
			return
		}
		d.lapse()
	}))
}

// lapse stops deciding, and tries to have the lease again.
func (d *decider) lapse() {
	d.o.w.note(d.o.name, "its lease has lapsed:", d.run.id)
	d.endTerm()
	d.o.after(d.o.w.between(0, 300*time.Millisecond), "wants to decide again", d.during(d.acquire))
}

// retake goes on with a run after the connection was made again: in a term of
// its own, with the same lease. What it has published may be stored until its
// store-by time has passed.
func (d *decider) retake() {
	if d.loop != nil {
		for _, p := range d.loop.publishing {
			d.doubt = later(d.doubt, p.by)
		}
	}
	d.endTerm()
	d.o.w.note(d.o.name, "takes its run over again:", d.run.id)
	d.holds = true
	d.scope = &scope{p: d.o.party}
	d.watchLease()
	d.renew()
	d.o.w.after(d.o.until(d.doubt), d.o.party, "has nothing in doubt", d.during(d.takeOver))
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (d *decider) endTerm() {
	d.term++
	d.holds, d.loop = false, nil
	if d.scope != nil {
		d.scope.cancel()
	}
}

// stepDown gives the lease back.
func (d *decider) stepDown() {
	l := d.loop
	d.endTerm()
	d.giveBack(l)
	if !d.run.clean {
		d.o.after(time.Second, "wants to decide again", d.during(d.acquire))
	}
}

// giveBack does so unless a publication of the loop is in doubt: what is stored
// after the lease's end is looked at before it starts, and not before that.
func (d *decider) giveBack(l *loop) {
	if l != nil && len(l.publishing) > 0 || d.o.now().Before(d.doubt) {
		return
	}
	s, revision := d.o.w.server, d.revision
	d.o.w.tell(d.o.party, "give the lease back", func() {
		if e := s.leases[d.run.id]; e != nil && e.revision == revision {
			s.dropLease(d.run)
		}
	})
}

// dropLease has those hear of a free lease who wait for it.
func (s *server) dropLease(r *run) {
	delete(s.leases, r.id)
	for _, o := range s.w.orchestrators {
		if d := o.deciders[r.id]; d != nil && o.alive && !o.cutIn {
			s.w.after(s.w.delay(), o.party, "hears of a free lease", d.during(d.acquire))
		}
	}
}

// persist calls until there is an answer, while the term lasts.
func (d *decider) persist(what string, op func() func()) {
	d.call(what, op, func() {
		d.o.after(50*time.Millisecond, "once more", d.during(func() { d.persist(what, op) }))
	})
}

func (d *decider) append(cell jobs.ModuleID, expect uint64, rec jobs.Record, then func(seq uint64)) {
	d.persist("append "+kindOf(&rec), func() func() {
		seq := d.o.w.server.append(d.run.id, cell, expect, rec)
		return func() { then(seq) }
	})
}

// purgeRun ends what was left of an ended run in the queue, and in what all
// runs share.
func (d *decider) purgeRun() {
	d.persist("purge the run", func() func() {
		d.o.w.server.purgeRun(d.run.id)
		return d.leaveLocks
	})
}

func (d *decider) leaveLocks() {
	d.task(func(s *scope) {
		if locks.Leave(s, bucket{d.o.party}, d.run.id, d.run.truth.locks) == nil {
			d.run.clean = true
			d.stepDown()
		}
	})
}
