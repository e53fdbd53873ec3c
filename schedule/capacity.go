package schedule

import "time"

// room finds the capable worker that is thought to have most room for a job
// of the lane, and the slots that it would take there.
func (d *Dispatcher) room(l *lane) (string, int) {
	best, most, slots := "", -1, 0
	for _, name := range l.capable {
		s := d.fleet.workers[name]
		takes := min(l.set.Slots, s.worker.Slots)
		left := s.worker.Slots + ahead(s.worker.Slots, l.mean) - d.assigned[name] - takes
		if left > most || (left == most && best == "") {
			best, most, slots = name, left, takes
		}
	}
	if most < 0 {
		return "", 0
	}
	return best, slots
}

// ahead is how many jobs beyond the free slots are kept on a lane, so that a
// slot does not wait for a round trip: 50 ms of work.
func ahead(slots int, mean time.Duration) int {
	if mean == 0 {
		return 0
	}
	return min(int(time.Duration(slots)*queuedAhead/mean), slots*aheadAtMost)
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
