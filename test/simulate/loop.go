package simulate

import (
	"errors"
	"slices"
	"time"

	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/schedule"
)

// storeWithin is how long the server may take to store a job before a copy of
// it is doubtful.
const storeWithin = 5 * time.Second

// loop is what an orchestrator does with a run that it has taken over: the
// fold, the dispatcher and the fleet are package schedule's own.
type loop struct {
	d          *decider
	link       int // number of the connection on which it has read
	epoch      uint64
	takeover   uint64 // sequence of our record of that
	state      *schedule.Run
	dispatcher *schedule.Dispatcher
	fleet      *schedule.Fleet
	ours       bool
	ahead      time.Duration // the log's clock minus ours
	cursor     uint64        // sequence of the last entry that was folded

	fencing    uint64 // epoch of fencing tokens
	safe       bool   // the server was not restarted since the run was submitted
	publishing map[jobs.AttemptID]*publication

	taker *locks.Taker

	feed, watch, bells stream
	timer              time.Duration // when it is to be called; 0 = not
	spins              int           // decisions
	spun               time.Duration // that were made since
}

// publication is one whose fate is not known. A purge that overtook it would
// leave its job in the queue.
type publication struct {
	by   time.Time // on our own clock: what is stored later is looked at before it starts
	then []func()  // when it is
}

// change is one thing heard from the registry.
type change struct {
	worker        jobs.WorkerInfo
	gone, left    bool
	began, synced bool
}

// takeOver records who decides from here on, and folds what stood before.
func (d *decider) takeOver() {
	s := d.o.w.server
	d.persist("read the log", func() func() {
		entries, fencing, safe := slices.Clip(s.logs[d.run.id].entries), s.epoch(), s.boot == d.run.boot
		return func() {
			if len(entries) == 0 {
				d.o.w.note(d.o.name, "finds nothing of", d.run.id)
				d.told = true
				d.endTerm()
				return
			}
			state, err := schedule.Load(entries, nil)
			if err != nil {
				d.o.w.fail("%s cannot fold the log of %s: %v", d.o.name, d.run.id, err)
				return
			}
			if state.Ended() != nil {
				d.purgeRun()
				return
			}
			control, _ := state.Control()
			last := entries[len(entries)-1].Sequence
			d.epoch = schedule.NextEpoch(state, d.epoch, safe, fencing)
			epoch := d.epoch
			d.tell(func() { // the epoch stands in the lease before it stands in the log
				takeover := jobs.Record{Takeover: &jobs.Takeover{Epoch: epoch, Orchestrator: d.o.name}}
				d.append("", control, takeover, func(seq uint64) {
					if seq == 0 {
						d.takeOver()
						return
					}
					d.begin(&loop{d: d, link: d.o.link, epoch: epoch, takeover: seq, state: state, cursor: last, fencing: fencing, safe: safe})
				})
			})
		}
	})
}

// tell writes the lease until it is stored.
func (d *decider) tell(then func()) {
	told := false
	d.write(func() {
		if !told {
			told = true
			then()
		}
	})
	d.o.after(patience, "writes its lease again", d.during(func() {
		if !told {
			told = true
			d.tell(then)
		}
	}))
}

// begin begins to decide.
func (d *decider) begin(l *loop) {
	l.fleet, l.publishing = schedule.NewFleet(workerTTL), map[jobs.AttemptID]*publication{}
	l.feed, l.watch, l.bells = stream{d: d}, stream{d: d}, stream{d: d}
	l.taker = l.newTaker()
	d.loop = l
	d.follow()
}

// stream is an ordered feed from the server to a loop.
type stream struct {
	d     *decider
	items []func()
	last  time.Duration
	turn  int // grows when it begins anew
}

// feedLag is how far a feed is behind at most, while it is not cut off: one
// that is silent for longer begins anew.
const feedLag = 300 * time.Millisecond

// push has the server send an item.
func (q *stream) push(what string, f func()) {
	w := q.d.o.w
	if !q.d.o.connected() {
		return
	}
	q.items = append(q.items, f)
	q.last = max(q.last+time.Microsecond, w.now+min(w.delay(), feedLag))
	q.schedule(what)
}

func (q *stream) schedule(what string) {
	turn := q.turn
	q.d.o.w.at(q.last, q.d.o.party, what, q.d.during(func() {
		if q.turn != turn || len(q.items) == 0 || q.d.o.cutIn {
			return
		}
		items := q.items
		q.items = nil
		for _, f := range items { // what was held up comes at once
			if q.turn == turn && q.d.loop != nil {
				f()
			}
		}
		if q.d.loop != nil {
			q.d.loop.step()
		}
	}))
}

func (q *stream) anew() {
	q.items, q.last = nil, 0
	q.turn++
}

// follow begins to read the log and the registry, or begins anew.
func (d *decider) follow() {
	l := d.loop
	if l == nil {
		return
	}
	l.feed.anew()
	l.watch.anew()
	l.bells.anew()
	turn := l.watch.turn
	d.persist("follow", func() func() {
		if d.loop == l && l.watch.turn == turn {
			l.snapshot()
		}
		return func() {}
	})
}

// snapshot sends all that is in the log and in the registry.
func (l *loop) snapshot() {
	s := l.d.o.w.server
	var all []jobs.WorkerInfo
	for _, k := range l.d.o.w.workers {
		if e := s.registry[k.name]; e != nil {
			all = append(all, e.value)
		}
	}
	l.watch.push("the registry's watch begins", func() {
		l.hear(change{began: true})()
		for _, k := range all {
			l.hear(change{worker: k})()
		}
		l.hear(change{synced: true})()
	})
	l.beats()
	if len(l.d.run.truth.locks) > 0 {
		l.bells.push("the watch of locks begins", l.locksChanged)
	}
	l.d.entryStored(s.logs[l.d.run.id])
}

// entryStored has the loop hear of all that is in the log now.
func (d *decider) entryStored(log *log) {
	l := d.loop
	if l == nil {
		return
	}
	entries := log.entries
	l.feed.push("hears of the log", func() {
		for i, _ := slices.BinarySearchFunc(entries, l.cursor+1, func(e jobs.Entry, seq uint64) int { return int(e.Sequence) - int(seq) }); i < len(entries); i++ {
			if d.loop != l {
				return
			}
			l.fold(entries[i])
		}
	})
}

func (d *decider) registryChanged(c change) {
	if d.loop != nil {
		d.loop.watch.push("hears of the registry", d.loop.hear(c))
	}
}

// now is the time by the clock of the log.
func (l *loop) now() time.Time { return l.d.o.now().Add(l.ahead) }

func (l *loop) fold(e jobs.Entry) {
	l.cursor = e.Sequence
	if err := l.state.Apply(e); err != nil {
		l.d.o.w.fail("%s cannot fold an entry of %s: %v", l.d.o.name, l.d.run.id, err)
		return
	}
	if t := e.Record.Takeover; t != nil {
		switch {
		case t.Epoch > l.epoch:
			l.d.o.w.note(l.d.o.name, "is superseded by", t.Orchestrator)
			l.d.stepDown()
		case e.Sequence == l.takeover:
			l.ours = true
			l.keepTime(e.Time.Sub(l.d.o.now()))
			l.dispatcher = schedule.NewDispatcher(l.state, l.fleet)
			l.dispatcher.Fence(l.fencing)
			l.fleet.Quiet(l.now().Add(workerTTL - l.d.o.connectedFor()))
			if l.state.MayHaveLost(l.safe) {
				l.dispatcher.AwaitCalm()
			}
		}
		return
	}
	if l.ours {
		l.keepTime(max(l.ahead, e.Time.Sub(l.d.o.now())))
	}
}

// keepTime corrects what is known of the log's clock.
func (l *loop) keepTime(ahead time.Duration) {
	l.fleet.Shift(ahead - l.ahead)
	l.ahead = ahead
}

// hear is what the loop does when it hears a change of the registry.
func (l *loop) hear(c change) func() {
	return func() {
		now := l.now()
		switch {
		case c.began:
			l.fleet.Restart()
		case c.synced:
			l.fleet.Synced(now)
		case c.gone:
			l.fleet.Gone(c.worker.Name, c.left)
		default:
			l.fleet.Seen(c.worker, now)
		}
		l.fleet.Heard(now)
	}
}

// watchBeat is how often the watch of the registry says that nothing changes.
const watchBeat = workerTTL / 5

// beats has it do so.
func (l *loop) beats() {
	turn := l.watch.turn
	l.d.o.w.after(watchBeat, nil, "tells who watches that nothing has changed", func() {
		if l.d.loop == l && l.watch.turn == turn {
			l.watch.push("hears that nothing has changed", func() { l.fleet.Heard(l.now()) })
			l.beats()
		}
	})
}

// step decides after something was heard.
func (l *loop) step() {
	if l.d.loop != l || l.d.o.w.failed != nil {
		return
	}
	if l.state.Ended() != nil {
		l.d.loop = nil
		l.d.purgeRun()
		return
	}
	if !l.ours || !l.d.o.now().Before(l.d.leased) {
		return
	}
	if l.timer != 0 {
		l.fleet.Woke(l.d.o.w.now-l.timer, l.now())
	}
	for {
		actions, wake := l.dispatcher.Decide(l.now())
		again := false
		for _, a := range actions {
			again = l.perform(a) || again
		}
		if !again {
			l.wakeAt(wake)
			return
		}
	}
}

// wakeAt has the loop decide again at a time by the clock of the log.
func (l *loop) wakeAt(wake time.Time) {
	if wake.IsZero() {
		l.timer = 0
		return
	}
	o := l.d.o
	if l.spins++; o.w.now-l.spun > time.Millisecond {
		l.spun, l.spins = o.w.now, 0
	}
	if l.spins > 500 {
		o.w.fail("%s decides for %s again and again, and nothing changes", o.name, l.d.run.id)
	}
	at := o.w.now + o.until(wake.Add(-l.ahead)) + time.Microsecond // its clock may be a little slow
	if l.timer != 0 && at >= l.timer && l.timer > o.w.now {        // the one that is set comes first, and looks again
		return
	}
	l.timer = at
	o.w.at(at, o.party, "its timer rings", l.d.during(func() {
		if l.timer == at {
			l.fleet.Woke(l.d.o.w.now-at, l.now())
			l.timer = 0
			l.step()
		}
	}))
}

// answered is f and another look.
func (l *loop) answered(f func()) func() {
	return func() {
		if l.d.loop == l && l.ours {
			f()
			l.step()
		}
	}
}

// perform carries out one decision. It reports whether it was answered at once.
func (l *loop) perform(a schedule.Action) bool {
	d, s := l.d, l.d.o.w.server
	switch a := a.(type) {
	case schedule.Prepare:
		d.persist("prepare a lane", func() func() {
			return l.answered(func() { l.dispatcher.Prepared(a.Lane, 1) })
		})
	case schedule.Evaluate:
		holds, err := condition(l.state.Module(a.Node))
		l.dispatcher.Evaluated(a.Node, holds, err)
		return true
	case schedule.Expand:
		combinations, err := combinations(l.state.Module(a.Node))
		l.dispatcher.Expanded(a.Node, combinations, err)
		return true
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
	return false
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
	d, m := l.d, l.state.Module(a.Node)
	job := &jobs.Job{
		Run: d.run.id, Module: a.ID.Module, Name: m.Name, Attempt: a.ID.Attempt, Lane: a.Lane, Slots: a.Slots,
		Keyed: a.Keyed, ClaimFirst: a.ClaimFirst, Fence: a.Fence, Epoch: a.Epoch, MaybeDuplicate: a.Again, Rank: a.Rank,
		StoreBy: l.storeBy(), Timeout: m.Policy.Timeout, Grace: m.Policy.Grace,
	}
	p := &publication{by: job.StoreBy.Add(-l.ahead)}
	l.publishing[a.ID] = p
	known := func() {
		delete(l.publishing, a.ID)
		for _, f := range p.then {
			f()
		}
	}
	d.call(publishing, func() func() {
		d.o.w.server.publish(job)
		return known
	}, func() {
		d.o.after(job.StoreBy.Sub(l.now()), "a publication is in doubt no more", d.during(known))
		l.answered(func() { l.dispatcher.Unpublished(a.Node, a.ID, job.StoreBy, nil) })()
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

var errCondition = errors.New("it cannot be evaluated")

// condition says how a module's comes out: its text does.
func condition(m *pipeline.Module) (bool, error) {
	switch m.If {
	case "error":
		return false, errCondition
	case "false":
		return false, nil
	}
	return true, nil
}
