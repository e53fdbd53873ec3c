package schedule

import (
	"slices"
	"time"
)

// room finds the capable worker that is thought to have room for n, a module
// of lane l, and the slots that n would take there: of the workers that serve
// no scarcer lane than the others do, the one with most room. Slots that
// scarce lanes need are thus taken last.
func (d *Dispatcher) room(l *lane, n *node) (string, int) {
	best, most, scarcest, slots := "", -1, 0, 0
	early := !d.run.moreUrgent(n)
	for _, name := range l.capable {
		s := d.fleet.workers[name]
		takes := min(l.set.Slots, s.worker.Slots)
		left := s.worker.Slots - d.assigned[name] - takes
		if early {
			left += ahead(s.worker.Slots, l.mean)
		}
		if left < 0 {
			continue
		}
		if scarce := d.scarcest[name]; best == "" || scarce > scarcest || scarce == scarcest && left > most {
			best, most, scarcest, slots = name, left, scarce, takes
		}
	}
	return best, slots
}

// roomBefore is room for n where a less urgent job waits that the same worker may
// take: it was published for a slot that another job has taken, and the worker's
// next free slot is to take n. When such a job was published a moment ago, a
// worker may be starting it: then until is when to look again.
// One job passes another at a time.
func (d *Dispatcher) roomBefore(l *lane, n *node, now time.Time) (worker string, slots int, until time.Time) {
	if !d.run.lessUrgent(n) {
		return "", 0, until
	}
	for _, i := range d.activeNodes() {
		o, m := d.run.nodes[i], d.memo(i)
		if !d.queues(i) || d.queues(m.passedBy-1) || o.module.Policy.Priority >= n.module.Policy.Priority {
			continue
		}
		theirs := d.lane(o).capable
		k := slices.IndexFunc(l.capable, func(name string) bool { return slices.Contains(theirs, name) })
		if k < 0 {
			continue
		}
		if at := m.sent.Add(settleEqual); now.Before(at) {
			until = earlierSet(until, at)
			continue
		}
		m.passedBy = n.index + 1
		return l.capable[k], min(l.set.Slots, d.fleet.workers[l.capable[k]].worker.Slots), time.Time{}
	}
	return "", 0, until
}

// queues reports whether the job of a node waits for a worker to take it; false
// for -1.
func (d *Dispatcher) queues(i int) bool {
	return i >= 0 && d.memo(i).published && d.run.nodes[i].claim == nil && !d.run.nodes[i].status.Terminal()
}

// ahead is how many jobs beyond the free slots are kept on a lane, so that a
// slot does not wait for a round trip: 50 ms of work.
func ahead(slots int, mean time.Duration) int {
	if mean == 0 {
		return 0
	}
	return min(int(time.Duration(slots)*queuedAhead/mean), slots*aheadAtMost)
}

// measureLanes counts the slots of each lane, and notes for each worker how
// many slots the scarcest lane has that it serves.
func (d *Dispatcher) measureLanes() {
	clear(d.scarcest)
	for _, l := range d.sorted {
		l.slots = 0
		for _, name := range l.capable {
			l.slots += d.fleet.workers[name].worker.Slots
		}
		for _, name := range l.capable {
			if least, ok := d.scarcest[name]; !ok || l.slots < least {
				d.scarcest[name] = l.slots
			}
		}
	}
}

func (d *Dispatcher) take(m *memo, worker string, slots int) {
	d.unassign(m)
	m.worker, m.slots = worker, slots
	d.assigned[worker] += slots
}

// assign moves an attempt to the worker that has claimed it.
func (d *Dispatcher) assign(m *memo, worker string, slots int) {
	if m.worker == worker {
		return
	}
	if s, ok := d.fleet.workers[worker]; ok {
		slots = min(slots, s.worker.Slots)
	}
	d.take(m, worker, slots)
}

func (d *Dispatcher) unassign(m *memo) {
	if m.worker != "" {
		d.assigned[m.worker] -= m.slots
		m.worker, m.slots = "", 0
	}
}

func (l *lane) observe(took time.Duration) {
	took = max(took, shortestWork)
	if l.mean == 0 {
		l.mean = took
		return
	}
	l.mean += (took - l.mean) / 8
}
