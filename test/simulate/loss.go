package simulate

import (
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// longestLoss is how much of what was stored last a server loses at most. The
// real one may lose two minutes; here much happens in a second.
const longestLoss = 4 * time.Second

// loseTail has the server lose the last part of its streams: what was stored
// in them in the last seconds is gone, and what was removed is back. Sequences
// that were lost are used again. One stream may lose more than another.
func (s *server) loseTail() {
	s.lost = true
	from := max(0, s.w.now-s.w.between(0, longestLoss))
	queueFrom := from
	if s.w.chance(0.4) {
		queueFrom = max(0, s.w.now-s.w.between(0, longestLoss))
	}
	if s.w.chance(0.15) {
		from = s.w.now // nothing of the logs
	}
	s.loseLogs(from)
	s.loseQueue(queueFrom)
}

// loseStore has the server lose all that it has stored: it is a new one. Nothing
// of the runs is left, and people submit others.
func (s *server) loseStore() {
	s.lost = true
	s.w.note("nats", "has lost its store")
	for _, r := range s.w.runs {
		s.logs[r.id] = newLog()
		r.gone = true
	}
	s.sequence, s.queued, s.queue, s.removed = 0, 0, nil, nil
	clear(s.leases)
	clear(s.locks)
	s.w.after(s.w.between(0, 2*time.Second), nil, "somebody submits another run", s.w.submitLater)
}

// submitLater submits a run when the server is up, for every orchestrator.
func (w *world) submitLater() {
	if w.server.down {
		w.after(100*time.Millisecond, nil, "somebody tries again to submit another run", w.submitLater)
		return
	}
	r := w.submit(jobs.RunID(w.name("n")))
	w.cleared = 0
	for _, o := range w.orchestrators {
		if o.serves = append(o.serves, r); o.alive {
			o.serve(r)
		}
	}
}

// loseLogs has the logs of runs lose what was stored after a moment.
func (s *server) loseLogs(from time.Duration) {
	kept := uint64(0)
	for _, r := range s.w.runs {
		if r.gone {
			continue
		}
		l := s.logs[r.id]
		n, _ := slices.BinarySearch(l.at, from+1)
		n = max(n, 1) // a run of which nothing is left is no run
		short := newLog()
		for i := range n {
			short.add(l.entries[i], l.at[i])
		}
		kept = max(kept, l.entries[n-1].Sequence)
		if lost := len(l.entries) - n; lost > 0 {
			s.w.note("nats", "has lost", lost, "records of", r.id)
			r.clean = false
			s.w.cleared = 0
		}
		s.logs[r.id] = short
		r.truth.again(short)
	}
	s.sequence = kept
}

// loseQueue has the queue lose what was published after a moment, and bring
// back what was removed since.
func (s *server) loseQueue(from time.Duration) {
	back := slices.Clone(s.queue)
	for _, q := range s.removed {
		if q.until > from {
			back = append(back, q)
		}
	}
	s.removed, s.queue, s.queued = nil, nil, 0
	slices.SortStableFunc(back, func(a, b *queuedJob) int { return int(a.since - b.since) })
	for _, q := range back {
		if q.since > from {
			s.w.note("nats", "has lost the job", q.job.Run, q.job.Module, q.job.Attempt)
			continue
		}
		s.queued = max(s.queued, q.sequence)
		s.queue = append(s.queue, &queuedJob{sequence: q.sequence, job: q.job, stored: q.stored, since: q.since})
	}
}

// again folds a log that has lost its end.
func (t *truth) again(l *log) {
	before := *t
	*t = truth{}
	t.begin()
	t.tokens, t.running, t.locks, t.readings, t.known = before.tokens, before.running, before.locks, before.readings, before.known
	for i := range l.entries {
		_ = t.record(&l.entries[i], l.at[i]) // what it finds was found when the entry was written
	}
}

func newLog() *log {
	return &log{last: map[string]uint64{}, newest: map[jobs.ModuleID]jobs.Entry{}}
}
