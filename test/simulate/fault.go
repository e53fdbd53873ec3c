package simulate

import (
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// trouble schedules faults for a while, and then their end. After that, everything
// that is promised to end must end.
func (w *world) trouble() {
	end := w.between(time.Second, w.climate.trouble)
	if w.chance(0.1) {
		end = w.between(25*time.Second, 90*time.Second)
	}
	if w.chance(w.climate.faults) {
		often := w.between(100*time.Millisecond, 2500*time.Millisecond)
		var next func()
		next = func() {
			w.after(w.between(0, 2*often), nil, "a fault happens", func() {
				if !w.fair {
					w.fault()
					next()
				}
			})
		}
		next()
	}
	if w.chance(w.climate.noise) {
		w.makeNoise()
	}
	w.forger.begin()
	w.at(end, nil, "the faults end", w.endFaults)
}

// fault causes one fault.
func (w *world) fault() {
	if w.chance(w.climate.registry) {
		w.registryAway()
		return
	}
	if w.chance(w.climate.handovers) {
		w.orchestratorStops()
		return
	}
	if w.chance(w.climate.breakdowns) {
		w.machineBreaks()
		return
	}
	if w.chance(w.climate.restarts) {
		w.serverRestarts()
		return
	}
	switch n := w.rand.IntN(100); {
	case n < 14:
		w.orchestratorDies()
	case n < 26:
		w.pause(w.anyOrchestrator().party)
	case n < 34:
		w.cut(w.anyOrchestrator().party)
	case n < 46:
		w.workerDies()
	case n < 60:
		w.pause(w.anyWorker().party)
	case n < 72:
		w.cut(w.anyWorker().party)
	case n < 77:
		if k := w.anyWorker(); k.alive && !k.paused {
			k.drain(w.between(0, 3*time.Second))
		}
	case n < 80:
		if k := w.anyWorker(); k.alive && !k.paused {
			k.halt()
		}
	case n < 88:
		w.serverRestarts()
	case n < 93:
		by := w.between(-8*time.Second, 12*time.Second)
		w.server.jump += by
		w.server.jumped, w.server.jumpedBack = true, w.server.jumpedBack || by < 0
		w.note("nats", "its clock jumps to", w.server.clock())
		leases := len(w.server.leases)
		w.server.sweep()
		w.server.cutShort = w.server.cutShort || len(w.server.leases) < leases
	default:
		w.cancelRun()
	}
}

// serverRestarts restarts the server. It may lose some or all of its stored data.
func (w *world) serverRestarts() {
	if w.server.down {
		return
	}
	lose := func() {}
	if w.chance(w.climate.losses) {
		lose = w.server.loseTail
		if w.chance(w.climate.stores) {
			lose = w.server.loseStore
		}
		w.aftermath()
	}
	w.server.restart(w.between(0, 2*time.Second), lose)
}

// aftermath causes more faults around some losses. A worker is cut off, so that it
// does not verify its claims, and a user cancels a run.
func (w *world) aftermath() {
	if !w.chance(w.climate.aftermath) {
		return
	}
	k := w.anyWorker()
	for _, o := range w.workers {
		if slices.ContainsFunc(o.tasks, func(t *task) bool { return t.running && t.Job().Keyed }) {
			k = o
		}
	}
	w.cut(k.party)
	w.after(w.between(0, 4*time.Second), nil, "a user cancels a run", func() {
		if !w.fair {
			w.cancelRun()
		}
	})
}

// registryAway stops the registry's answers for a while, as for a stream without a
// leader. Workers cannot renew their leases, and all else works. Entries expire
// when they are due, or when the registry answers again.
func (w *world) registryAway() {
	s := w.server
	s.registryBack, s.registrySweeps = w.now+w.between(500*time.Millisecond, 7*time.Second), w.chance(0.5)
	w.note("nats", "does not answer for the registry until", s.registryBack)
}

func (w *world) anyOrchestrator() *orchestrator {
	return w.orchestrators[w.rand.IntN(len(w.orchestrators))]
}
func (w *world) anyWorker() *worker { return w.workers[w.rand.IntN(len(w.workers))] }

func (w *world) orchestratorDies() {
	o := w.anyOrchestrator()
	if !o.alive {
		return
	}
	o.kill()
	d := w.between(50*time.Millisecond, 5*time.Second)
	if w.climate.apart && w.chance(0.4) { // its runs have no orchestrator for that time
		d = w.between(5*time.Second, 20*time.Second)
	}
	w.after(d, nil, o.name+" is started again", o.start)
}

// orchestratorStops stops an orchestrator. It gives its leases back, so that
// others can continue immediately.
func (w *world) orchestratorStops() {
	o := w.anyOrchestrator()
	if !o.alive || o.paused {
		return
	}
	o.stop()
	w.after(w.between(50*time.Millisecond, 5*time.Second), nil, o.name+" is started again", o.start)
}

func (w *world) workerDies() {
	k := w.anyWorker()
	if !k.alive {
		return
	}
	k.kill()
	w.after(w.between(10*time.Millisecond, 6*time.Second), nil, k.name+" is started again", k.start)
}

// machineBreaks breaks a worker's machine, which cannot start attempts for a while.
func (w *world) machineBreaks() {
	k := w.anyWorker()
	w.note(k.name, "its machine cannot start attempts")
	k.broken = true
	w.after(w.between(time.Second, 10*time.Second), nil, "the machine of "+k.name+" is repaired", func() { k.broken = false })
}

func (w *world) pause(p *party) {
	if !p.alive || p.paused {
		return
	}
	life, d := p.life, w.between(10*time.Millisecond, 8*time.Second)
	if w.chance(0.1) {
		d = w.between(8*time.Second, 25*time.Second)
	}
	p.paused = true
	w.note(p.name, "is paused for", d)
	w.after(d, nil, p.name+" continues", func() {
		if p.life == life {
			p.resume()
		}
	})
}

func (w *world) cut(p *party) {
	if p.cutIn || p.cutOut {
		return
	}
	switch w.rand.IntN(3) {
	case 0:
		p.cutOut = true
	case 1:
		p.cutIn = true
	default:
		p.cutOut, p.cutIn = true, true
	}
	d := w.between(100*time.Millisecond, 8*time.Second)
	w.note(p.name, "is cut off for", d, "out", p.cutOut, "in", p.cutIn)
	w.after(d, nil, p.name+" is reachable again", func() { w.reach(p) })
}

// reach ends a cut.
func (w *world) reach(p *party) {
	reconnects := w.chance(0.5) || !p.connected()
	w.heal(p, reconnects)
	if !p.alive {
		return
	}
	if reconnects {
		w.after(w.delay(), p, "reconnects", func() { w.reconnect(p) })
		return
	}
	for _, o := range w.orchestrators {
		if o.party != p {
			continue
		}
		for _, r := range w.runs {
			if d := o.deciders[r.id]; d != nil && d.loop != nil {
				d.loop.feed.goOn()
				d.loop.watch.goOn()
				d.loop.bells.goOn()
			}
		}
	}
}

// goOn delivers the delayed items.
func (q *stream) goOn() {
	if len(q.items) > 0 {
		q.last = max(q.last, q.d.o.w.now) + time.Microsecond
		q.schedule("receives delayed items")
	}
}

// cancelRun cancels a run, as a user does.
func (w *world) cancelRun() {
	r := w.runs[w.rand.IntN(len(w.runs))]
	if r.gone {
		return
	}
	l := w.server.logs[r.id]
	w.server.append(r.id, "", l.last["cancel"], "", jobs.Record{Cancel: &jobs.Cancel{ID: w.name("c"), By: "a user", Reason: "enough"}})
}

// endFaults ends all faults.
func (w *world) endFaults() {
	w.fair, w.net = true, weather{}
	w.server.registryBack = w.now
	for _, o := range w.orchestrators {
		if w.climate.desert && len(o.serves) == 1 && o.serves[0].deserted {
			o.leave()
		}
		if o.alive {
			o.resume()
			w.reach(o.party)
		}
	}
	for _, k := range w.workers {
		k.broken = false
		if k.alive {
			k.resume()
			w.reach(k.party)
		}
	}
	for _, p := range w.parties() {
		p.cutIn, p.cutOut = false, false
	}
	w.after(patienceOfRuns, nil, "all runs should have ended", func() {
		w.fail("stuck: %s has passed without faults, and %s", patienceOfRuns, w.describeOpen())
	})
}

// patienceOfRuns is the time without faults after which every run has ended.
const patienceOfRuns = 3 * time.Minute

func (w *world) parties() []*party {
	var all []*party
	for _, o := range w.orchestrators {
		all = append(all, o.party)
	}
	for _, k := range w.workers {
		all = append(all, k.party)
	}
	return all
}
