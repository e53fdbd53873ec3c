package simulate

import (
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// change is one message of the watch of the registry.
type change struct {
	worker        jobs.WorkerInfo
	gone, left    bool
	began, synced bool
}

// stream is an ordered feed from the server to a loop.
type stream struct {
	d     *decider
	items []func()
	last  time.Duration
	turn  int // grows when the stream restarts
}

// feedLag is how far a feed is behind at most, while it is not cut off. A feed
// that is silent for longer restarts.
const feedLag = 300 * time.Millisecond

// push sends an item from the server.
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
		for _, f := range items { // delayed items arrive together
			if q.turn == turn && q.d.loop != nil {
				f()
			}
		}
		if q.d.loop != nil {
			q.d.loop.step()
		}
	}))
}

func (q *stream) restart() {
	q.items, q.last = nil, 0
	q.turn++
}

// follow starts or restarts reading the log and the registry.
func (d *decider) follow() {
	l := d.loop
	if l == nil {
		return
	}
	l.feed.restart()
	l.watch.restart()
	l.bells.restart()
	turn := l.watch.turn
	d.persist("follow", func() func() {
		if d.loop == l && l.watch.turn == turn {
			l.snapshot()
		}
		return func() {}
	})
}

// snapshot sends everything in the log and in the registry.
func (l *loop) snapshot() {
	s := l.d.o.w.server
	var all []jobs.WorkerInfo
	for _, k := range l.d.o.w.workers {
		if e := s.registry[k.name]; e != nil {
			all = append(all, e.value)
		}
	}
	l.watch.push("receives the registry's snapshot", func() {
		l.receive(change{began: true})()
		for _, k := range all {
			l.receive(change{worker: k})()
		}
		l.receive(change{synced: true})()
	})
	l.beats()
	if len(l.d.run.truth.locks) > 0 {
		l.bells.push("receives the snapshot of locks", l.locksChanged)
	}
	if l.d.o.w.climate.caching > 0 {
		l.bells.push("receives the snapshot of flights", l.flightFree(""))
	}
	l.d.entryStored(s.logs[l.d.run.id])
}

// entryStored sends the loop the entries of the log that it has not yet folded.
func (d *decider) entryStored(log *log) {
	l := d.loop
	if l == nil {
		return
	}
	seen := log.seenBy(d.o.secrets)
	l.feed.push("receives log entries", func() {
		for i, _ := slices.BinarySearchFunc(seen.entries, l.cursor+1, func(e jobs.Entry, seq uint64) int { return int(e.Sequence) - int(seq) }); i < len(seen.entries); i++ {
			if d.loop != l {
				return
			}
			l.fold(seen.at(i))
		}
	})
}

func (d *decider) registryChanged(c change) {
	if d.loop != nil {
		d.loop.watch.push("receives a registry change", d.loop.receive(c))
	}
}

// receive returns how the loop handles a change of the registry.
func (l *loop) receive(c change) func() {
	return func() {
		now := l.now()
		switch {
		case c.began:
			l.fleet.WatchRestarted()
		case c.synced:
			l.fleet.WatchSynced(now)
		case c.gone:
			l.fleet.Removed(c.worker.Name, c.left)
		default:
			l.fleet.Heartbeat(c.worker, now)
		}
		l.fleet.WatchAlive(now)
	}
}

// watchBeat is the interval of the heartbeats of the registry's watch.
const watchBeat = workerTTL / 5

// beats sends these heartbeats.
func (l *loop) beats() {
	turn := l.watch.turn
	l.d.o.w.after(watchBeat, nil, "sends a heartbeat of the watch", func() {
		if l.d.loop == l && l.watch.turn == turn {
			l.watch.push("receives a heartbeat of the watch", func() { l.fleet.WatchAlive(l.now()) })
			l.beats()
		}
	})
}
