package simulate

import (
	"time"

	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/jobs"
)

// orchestrator is a process that decides for runs. It decides for each while it
// holds the run's lease.
type orchestrator struct {
	*party
	secrets  keyring
	serves   []*run // the runs for which it tries to acquire the lease
	gone     bool   // it has died for ever
	deciders map[jobs.RunID]*decider
	tasks    []*coroutine
}

// start starts the process, which tries to acquire the lease of each run.
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

// serve tries to acquire the lease of a run.
func (o *orchestrator) serve(r *run) {
	d := &decider{o: o, run: r, instance: o.w.name(o.name + "/")}
	o.deciders[r.id] = d
	o.after(o.w.between(0, 200*time.Millisecond), "tries to acquire the lease of "+string(r.id), d.acquire)
}

func (o *orchestrator) kill() {
	o.w.note(o.name, "is killed")
	o.end()
}

// end forgets everything. Requests of the deciders may still arrive at the server.
// Their answers are dropped.
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

// leave kills the orchestrator for ever.
func (o *orchestrator) leave() {
	if o.gone = true; o.alive {
		o.kill()
	}
}

// stop gives the leases back and ends the process. It abandons requests under way.
func (o *orchestrator) stop() {
	o.w.note(o.name, "stops")
	for _, r := range o.serves {
		if d := o.deciders[r.id]; d != nil && d.holds {
			d.giveBack(d.loop)
		}
	}
	o.end()
}

// reconnected handles a new connection. The server may have lost the end of a log
// that the orchestrator has folded. So it takes each of its runs over, as if
// another orchestrator had decided before.
func (o *orchestrator) reconnected() {
	for _, r := range o.w.runs {
		switch d := o.deciders[r.id]; {
		case d == nil:
		case d.keyless:
			d.keyless = false // the takeover that named the key may be lost
			d.acquire()
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
	signed := attemptCode(d.loop.state.Key(), run, jobs.AttemptID{Module: q.Module, Attempt: q.Attempt})
	o.w.tell(o.party, "answer a question", func() {
		if k.alive && !k.cutIn && k.connected() && !o.w.chance(o.w.net.loss) {
			o.w.after(o.w.delay(), k.party, "receives an answer", func() { k.answered(&a, signed) })
		}
	})
}

// decider is an orchestrator's part in one run. It has the lease, and a loop while
// it holds the lease.
type decider struct {
	o        *orchestrator
	run      *run
	instance string
	revision uint64
	leased   time.Time // end of its lease, on its own clock
	holds    bool      // the lease
	epoch    uint64    // the newest known epoch of any orchestrator
	term     int       // grows with every lapse; work of an earlier term does not continue
	scope    *scope    // of the term
	doubt    time.Time // until when its publications may still be stored, on its own clock
	tries    int       // to acquire the lease
	loop     *loop
	keyless  bool // it does not have the key of the run
	told     bool // it has found that the run's log is lost
}

// during returns a function that calls f only in the current term.
func (d *decider) during(f func()) func() {
	term := d.term
	return func() {
		if d.term == term {
			f()
		}
	}
}

// call sends a request of this term. The decider drops an answer that arrives in a
// later term.
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

// acquire takes the run's lease when it is free.
func (d *decider) acquire() {
	w, s := d.o.w, d.o.w.server
	if d.run.clean || d.holds || d.told || d.keyless {
		return
	}
	d.tries++
	try := d.tries
	again := d.during(func() {
		d.o.after(w.between(200*time.Millisecond, time.Second), "tries to acquire the lease", d.during(func() {
			if d.tries == try { // else a later try is under way
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

// take writes the lease when its entry has the given revision (0: no entry).
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

// lead starts to decide and to renew the lease.
func (d *decider) lead() {
	if d.holds {
		return // an earlier try has succeeded
	}
	d.holds = true
	d.scope = &scope{p: d.o.party}
	d.o.w.note(d.o.name, "holds the lease of", d.run.id)
	d.o.after(leaseTTL/3, "renews its lease", d.during(d.renew))
	d.watchLease()
	d.takeOver()
}

func (d *decider) renew() {
	d.o.after(leaseTTL/3, "renews its lease", d.during(d.renew))
	d.write(func() {})
}

// write renews the entry. It creates an entry that has expired. An entry of another
// orchestrator ends the term.
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

// watchLease ends the term when the lease has lapsed.
func (d *decider) watchLease() {
	d.o.w.after(d.o.until(d.leased)+d.o.w.between(0, 20*time.Millisecond), d.o.party, "checks its lease", d.during(func() {
		if d.o.now().Before(d.leased) {
			d.watchLease()
			return
		}
		d.lapse()
	}))
}

// lapse stops deciding and tries to acquire the lease again.
func (d *decider) lapse() {
	d.o.w.note(d.o.name, "its lease has lapsed:", d.run.id)
	d.endTerm()
	d.o.after(d.o.w.between(0, 300*time.Millisecond), "tries to acquire the lease again", d.during(d.acquire))
}

// retake takes a run over again after a reconnection, in a new term with the same
// lease. The server may still store its earlier publications until their store-by
// time has passed.
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
	d.o.w.after(d.o.until(d.doubt), d.o.party, "has no publication in doubt", d.during(d.takeOver))
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

// stepDown ends the term and gives the lease back.
func (d *decider) stepDown() {
	l := d.loop
	d.endTerm()
	d.giveBack(l)
	if !d.run.clean {
		d.o.after(time.Second, "tries to acquire the lease again", d.during(d.acquire))
	}
}

// giveBack gives the lease back, unless a publication of the loop is in doubt. A
// worker treats a job as doubtful only when it was stored after the lease's end.
func (d *decider) giveBack(l *loop) {
	if l != nil && len(l.publishing) > 0 || d.o.now().Before(d.doubt) {
		return
	}
	s, revision := d.o.w.server, d.revision
	d.o.w.tell(d.o.party, "release the lease", func() {
		if e := s.leases[d.run.id]; e != nil && e.revision == revision {
			s.dropLease(d.run)
		}
	})
}

// dropLease deletes a lease and notifies the orchestrators that wait for it.
func (s *server) dropLease(r *run) {
	delete(s.leases, r.id)
	for _, o := range s.w.orchestrators {
		if d := o.deciders[r.id]; d != nil && o.alive && !o.cutIn {
			s.w.after(s.w.delay(), o.party, "receives the end of a lease", d.during(d.acquire))
		}
	}
}

// persist repeats a call until it is answered or the term ends.
func (d *decider) persist(what string, op func() func()) {
	d.call(what, op, func() {
		d.o.after(50*time.Millisecond, "repeats a call", d.during(func() { d.persist(what, op) }))
	})
}

func (d *decider) append(cell jobs.ModuleID, expect uint64, signed code, rec jobs.Record, then func(seq uint64)) {
	d.persist("append "+kindOf(&rec), func() func() {
		secret := d.o.w.server.logs[d.run.id].secret
		seq := d.o.w.server.append(d.run.id, cell, expect, signed, rec)
		if seq != 0 && d.o.secrets.lacks(secret) {
			d.o.w.fail("%s writes a %s of %s, and does not have its key", d.o.name, kindOf(&rec), d.run.id)
		}
		return func() { then(seq) }
	})
}

// purgeRun removes the jobs of an ended run from the queue, and its holders from
// the locks of the cluster.
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
