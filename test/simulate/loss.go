package simulate

import (
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// longestLoss is the longest time of which a server loses the stored messages.
// The real server may lose two minutes. In a world, many events happen in a second.
const longestLoss = 4 * time.Second

// loseTail loses the last part of the server's streams. Messages that were stored
// in the last seconds are gone. Messages that were removed in that time are back.
// The server uses lost sequences again. One stream may lose more than another.
func (s *server) loseTail() {
	s.lost = true
	from := max(0, s.w.now-s.w.between(0, longestLoss))
	queueFrom := from
	if s.w.chance(0.4) {
		queueFrom = max(0, s.w.now-s.w.between(0, longestLoss))
	}
	if s.w.chance(0.15) {
		from = s.w.now // the logs lose nothing
	}
	s.loseLogs(from)
	s.loseQueue(queueFrom)
	if s.w.climate.caching > 0 && s.w.dice.Float64() < 0.7 {
		s.loseResults(max(0, s.w.now-time.Duration(s.w.dice.Int64N(int64(longestLoss)))))
	}
}

// loseStore loses everything that the server has stored. It is then like a new
// server. All runs are lost, and users submit others.
func (s *server) loseStore() {
	s.lost = true
	s.w.note("nats", "has lost its store")
	for _, r := range s.w.runs {
		s.logs[r.id] = newLog(s.w, r.id)
		r.gone = true
	}
	s.sequence, s.queued, s.queue, s.removed = 0, 0, nil, nil
	clear(s.leases)
	clear(s.locks)
	clear(s.results)
	s.flights = nil
	s.w.after(s.w.between(0, 2*time.Second), nil, "another run is submitted", s.w.submitLater)
}

// submitLater submits a run once the server is up. Every orchestrator serves it.
func (w *world) submitLater() {
	if w.server.down {
		w.after(100*time.Millisecond, nil, "the submission of another run is tried again", w.submitLater)
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

// loseLogs removes the entries that the logs of runs stored after a moment.
func (s *server) loseLogs(from time.Duration) {
	kept := uint64(0)
	for _, r := range s.w.runs {
		if r.gone {
			continue
		}
		l := s.logs[r.id]
		n, _ := slices.BinarySearch(l.at, from+1)
		n = max(n, 1) // a run without its specification would not exist
		short := newLog(s.w, r.id)
		for i := range n {
			short.add(l.entries[i], l.signed[i], l.at[i])
		}
		kept = max(kept, l.entries[n-1].Sequence)
		if lost := len(l.entries) - n; lost > 0 {
			s.w.note("nats", "has lost", lost, "records of", r.id)
			s.w.forger.misses(r.id, l.entries[n].Sequence)
			r.clean = false
			s.w.cleared = 0
		}
		s.logs[r.id] = short
		r.truth.refold(short)
		s.w.viewersBeginAgain(r)
	}
	s.sequence = kept
}

// loseQueue removes the jobs that were published after a moment. It restores the
// jobs that were removed since.
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

// refold folds a log that has lost its end.
func (t *truth) refold(l *log) {
	before := *t
	*t = truth{}
	t.begin()
	t.tokens, t.running, t.locks, t.readings, t.known = before.tokens, before.running, before.locks, before.readings, before.known
	for i, e := range l.seenBy(l.w.allSecrets()).all() {
		_ = t.record(&e, l.at[i]) // errors were reported when the entry was written
	}
}

func newLog(w *world, run jobs.RunID) *log {
	return &log{w: w, run: run, last: map[string]uint64{}, newest: map[jobs.ModuleID]int{}}
}
