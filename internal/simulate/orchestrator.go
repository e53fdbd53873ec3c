package simulate

import (
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// orchestrator is a process that decides for runs, each while it has the
// run's lease.
type orchestrator struct {
	*party
	deciders map[jobs.RunID]*decider
}

// start makes it try to decide for every run.
func (o *orchestrator) start() {
	o.begin()
	o.deciders = map[jobs.RunID]*decider{}
	for _, r := range o.w.runs {
		d := &decider{o: o, run: r, instance: o.w.name(o.name + "/")}
		o.deciders[r.id] = d
		o.after(o.w.between(0, 200*time.Millisecond), "wants to decide for "+string(r.id), d.acquire)
	}
}

func (o *orchestrator) kill() {
	o.w.note(o.name, "is killed")
	o.die()
	o.deciders = map[jobs.RunID]*decider{}
}

func (o *orchestrator) reconnected() {
	for _, r := range o.w.runs {
		if d := o.deciders[r.id]; d != nil {
			d.follow()
		}
	}
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
	term     int // grows with every lapse: what was begun in an earlier one is not gone on with
	loop     *loop
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

// acquire takes the run's lease when nobody has it.
func (d *decider) acquire() {
	w, s := d.o.w, d.o.w.server
	if d.run.clean {
		return
	}
	again := d.during(func() {
		d.o.after(w.between(200*time.Millisecond, time.Second), "wants to decide", d.during(d.acquire))
	})
	w.call(d.o.party, "read the lease", func() func() {
		e := s.leases[d.run.id]
		if e != nil && e.value != d.instance {
			return again
		}
		var revision uint64
		if e != nil {
			revision = e.revision
		}
		return d.during(func() { d.take(revision, d.lead, again) })
	}, again)
}

// take writes the lease where its entry has the given revision (0: there is none).
func (d *decider) take(revision uint64, then, refused func()) {
	w, s := d.o.w, d.o.w.server
	sent := d.o.now()
	w.call(d.o.party, "take the lease", func() func() {
		var have uint64
		if e := s.leases[d.run.id]; e != nil {
			have = e.revision
		}
		if have != revision {
			return d.during(refused)
		}
		s.revision++
		now := s.revision
		s.leases[d.run.id] = &entry[string]{d.instance, now, s.clock()}
		s.sweepLater()
		return d.during(func() {
			d.revision, d.leased = now, sent.Add(leaseTTL-leaseMargin)
			then()
		})
	}, d.during(refused))
}

// lead begins to decide, and to renew.
func (d *decider) lead() {
	d.holds = true
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
		d.o.w.call(d.o.party, "read the lease", func() func() {
			e := s.leases[d.run.id]
			if e == nil {
				return d.during(func() { d.take(0, then, func() {}) })
			}
			if e.value == d.instance {
				return d.during(func() { d.take(e.revision, then, func() {}) })
			}
			return d.during(d.lapse)
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
	d.term++
	d.holds, d.loop = false, nil
	d.o.after(d.o.w.between(0, 300*time.Millisecond), "wants to decide again", d.during(d.acquire))
}

// stepDown gives the lease back.
func (d *decider) stepDown() {
	d.term++
	d.holds, d.loop = false, nil
	s := d.o.w.server
	revision := d.revision
	d.o.w.tell(d.o.party, "give the lease back", func() {
		if e := s.leases[d.run.id]; e != nil && e.revision == revision {
			delete(s.leases, d.run.id)
		}
	})
	if !d.run.clean {
		d.o.after(time.Second, "wants to decide again", d.during(d.acquire))
	}
}

// persist calls until there is an answer, while the term lasts.
func (d *decider) persist(what string, op func() func()) {
	d.o.w.call(d.o.party, what, func() func() {
		answer := op()
		return d.during(answer)
	}, d.during(func() {
		d.o.after(50*time.Millisecond, "once more", d.during(func() { d.persist(what, op) }))
	}))
}

func (d *decider) append(cell jobs.Token, expect uint64, rec jobs.Record, then func(seq uint64)) {
	d.persist("append "+kindOf(&rec), func() func() {
		seq := d.o.w.server.append(d.run.id, cell, expect, rec)
		return func() { then(seq) }
	})
}

// purgeRun ends what was left of an ended run in the queue.
func (d *decider) purgeRun() {
	d.persist("purge the run", func() func() {
		d.o.w.server.purgeRun(d.run.id)
		d.run.clean = true
		return d.stepDown
	})
}
