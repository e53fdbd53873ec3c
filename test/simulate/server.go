package simulate

import (
	"fmt"
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

const (
	workerTTL = 3 * time.Second
	leaseTTL  = 3 * time.Second
	// leaseMargin is how long before the end of its lease an orchestrator stops.
	leaseMargin = 500 * time.Millisecond
	// ackWait is the time after which the server redelivers an unacknowledged job.
	ackWait = 10 * time.Second
)

// server is the model of NATS: the logs of runs, the queue of jobs, the registry,
// the leases and the locks. Each answer follows from the state at its moment.
type server struct {
	w    *world
	boot int
	down bool
	jump time.Duration // of its clock, so far

	jumped, jumpedBack bool // the clock has done so at least once
	lost               bool // it has lost the last part of its streams at least once
	cutShort           bool // a jump has ended a lease whose holder still believes in it

	sequence uint64 // of the logs' stream
	logs     map[jobs.RunID]*log

	queued uint64 // sequence of the jobs' stream
	queue  []*queuedJob

	removed []*queuedJob // from the queue, newest last; a loss restores them

	registry map[string]*entry[jobs.WorkerInfo]
	made     time.Time         // creation time of the registry, which is in memory
	fencing  uint64            // epoch of fencing tokens
	fenced   time.Time         // creation time of the registry of that epoch
	written  map[string]uint64 // last revision in the registry, also of deleted entries
	leases   map[jobs.RunID]*entry[leaseHolder]
	locks    map[string]lockRecord
	blobs    map[string]stored       // by digest
	results  map[string]cachedResult // by namespace and fingerprint
	flights  []flightChange          // newest last
	revision uint64
	sweeping bool

	registryBack   time.Duration // when the registry answers again
	registrySweeps bool          // its entries expire while it does not answer
}

// log is the log of a run. The server feeds followers from it.
type log struct {
	w       *world
	run     jobs.RunID
	entries []jobs.Entry
	signed  []code
	genuine []string        // the secret with which each record of a cell verifies
	at      []time.Duration // when they were stored
	last    map[string]uint64
	newest  map[jobs.ModuleID]int // index of the newest entry
	ended   bool
	secret  string // that the first takeover names
}

// leaseHolder identifies the orchestrator that holds a run's lease.
type leaseHolder struct {
	instance string
	epoch    uint64 // with which it decides; 0 = it does not decide yet
}

// queuedJob is a job in the work queue.
type queuedJob struct {
	sequence   uint64
	job        *jobs.Job
	stored     time.Time
	deliveries int
	due        time.Duration // when the server redelivers it

	since, until time.Duration // when it entered and left the queue
}

// entry is an entry of a bucket.
type entry[T any] struct {
	value    T
	revision uint64
	stored   time.Time
}

func newServer(w *world) *server {
	return &server{
		w: w, boot: 1, logs: map[jobs.RunID]*log{},
		registry: map[string]*entry[jobs.WorkerInfo]{}, written: map[string]uint64{}, leases: map[jobs.RunID]*entry[leaseHolder]{},
		locks: map[string]lockRecord{}, blobs: map[string]stored{}, results: map[string]cachedResult{}, made: epoch.Add(-time.Second),
	}
}

// epoch returns the epoch of fencing tokens. Every registry has another one.
func (s *server) epoch() uint64 {
	if s.fenced != s.made {
		s.fenced = s.made
		s.fencing++
	}
	return s.fencing
}

// clock returns the time on the server's clock.
func (s *server) clock() time.Time { return epoch.Add(s.w.now + s.jump) }

func subjectOf(cell jobs.ModuleID, rec *jobs.Record) string {
	switch {
	case cell != "":
		return "mod " + string(cell)
	case rec.Spec != nil:
		return "spec"
	case rec.Cancel != nil:
		return "cancel"
	case rec.End != nil:
		return "end"
	}
	return "ctl"
}

// append is the compare-and-set on a subject of a run's log. It returns the
// sequence, or 0 when it refuses.
func (s *server) append(run jobs.RunID, cell jobs.ModuleID, expect uint64, signed code, rec jobs.Record) uint64 {
	l, subject := s.logs[run], subjectOf(cell, &rec)
	if l.last[subject] != expect {
		s.w.note("nats", "refuses "+kindOf(&rec), run, cell, "expects", expect, "is", l.last[subject])
		return 0
	}
	s.sequence += 1 + s.w.rand.Uint64N(3)
	e := jobs.Entry{Sequence: s.sequence, Time: s.clock(), Cell: cell, Record: rec}
	e = l.add(e, signed, s.w.now)
	s.w.forger.reads(run, &e, signed)
	s.w.trace.mix(e.Sequence)
	s.w.note("nats", "stores "+kindOf(&rec), run, cell, describe(&rec), "signed", signed, "at", e.Sequence)
	s.w.checks.appended(s.w, run, &e, false, s.w.forger.misleads(cell, expect))
	s.notify(run)
	return e.Sequence
}

// notify sends the newly stored entries of a log to its followers.
func (s *server) notify(run jobs.RunID) {
	l := s.logs[run]
	for _, o := range s.w.orchestrators {
		if d := o.deciders[run]; d != nil {
			d.entryStored(l)
		}
	}
	for _, v := range s.w.viewers {
		if v.run.id == run {
			v.wake()
		}
	}
}

// add appends an entry to the log. It returns the entry as a reader with every
// secret sees it.
func (l *log) add(e jobs.Entry, signed code, at time.Duration) jobs.Entry {
	secret := ""
	if e.Cell != "" {
		l.newest[e.Cell] = len(l.entries)
		secret = genuine(l.run, &e, signed)
	}
	if t := e.Record.Takeover; t != nil && l.secret == "" {
		l.secret = t.Key
	}
	l.entries, l.at = append(l.entries, e), append(l.at, at)
	l.signed, l.genuine = append(l.signed, signed), append(l.genuine, secret)
	l.last[subjectOf(e.Cell, &e.Record)] = e.Sequence
	l.ended = l.ended || e.Cell == "" && e.Record.End != nil
	return l.seenBy(l.w.allSecrets()).at(len(l.entries) - 1)
}

func kindOf(rec *jobs.Record) string {
	switch {
	case rec.Spec != nil:
		return "spec"
	case rec.Claim != nil:
		return "claim"
	case rec.Outcome != nil:
		return "outcome"
	case rec.Takeover != nil:
		return "takeover"
	case rec.Grant != nil:
		return "grant"
	case rec.Expansion != nil:
		return "expansion"
	case rec.Nobody != nil:
		return "nobody"
	case rec.Note != nil:
		return "note"
	case rec.Rejected != nil:
		return "rejected"
	case rec.Cancel != nil:
		return "cancel"
	case rec.End != nil:
		return "end"
	}
	return "?"
}

// described is a record that is formatted only when a trace is printed.
type described struct{ rec jobs.Record }

func describe(rec *jobs.Record) described { return described{*rec} }

// String returns the important fields of a record.
func (d described) String() string {
	switch {
	case d.rec.Claim != nil:
		c := d.rec.Claim
		return fmt.Sprintf("of attempt %d by %s", c.Attempt, c.Incarnation)
	case d.rec.Outcome != nil:
		o := d.rec.Outcome
		by := o.Incarnation
		if o.By != "" {
			by = "the " + o.By + " " + o.Error
		}
		return fmt.Sprintf("of attempt %d: %s by %s", o.Attempt, o.Status, by)
	case d.rec.Takeover != nil:
		return fmt.Sprintf("%d by %s, signed %s", d.rec.Takeover.Epoch, d.rec.Takeover.Orchestrator, d.rec.Takeover.Key)
	case d.rec.Grant != nil:
		return fmt.Sprint(d.rec.Grant.Attempts)
	case d.rec.Nobody != nil:
		return fmt.Sprintf("%s over=%v", d.rec.Nobody.Lane, d.rec.Nobody.Served)
	case d.rec.Rejected != nil:
		return fmt.Sprint(d.rec.Rejected.Sequences)
	case d.rec.End != nil:
		return string(d.rec.End.Status)
	}
	return ""
}

// publish adds a job to the queue, unless the queue has a copy.
func (s *server) publish(job *jobs.Job) bool {
	if s.find(job.Run, jobs.AttemptID{Module: job.Module, Attempt: job.Attempt}) >= 0 {
		return false
	}
	s.queued++
	s.queue = append(s.queue, &queuedJob{sequence: s.queued, job: job, stored: s.clock(), since: s.w.now})
	s.w.note("nats", "queues", job.Run, job.Module, job.Attempt, "maybe duplicate", job.MaybeDuplicate, "keyed", job.Keyed)
	s.ring()
	return true
}

func (s *server) find(run jobs.RunID, id jobs.AttemptID) int {
	return slices.IndexFunc(s.queue, func(q *queuedJob) bool {
		return q.job.Run == run && q.job.Module == id.Module && q.job.Attempt == id.Attempt
	})
}

// purge removes one job.
func (s *server) purge(run jobs.RunID, id jobs.AttemptID) {
	s.remove(func(q *queuedJob) bool {
		return q.job.Run == run && q.job.Module == id.Module && q.job.Attempt == id.Attempt
	})
}

// remove removes jobs from the queue.
func (s *server) remove(which func(*queuedJob) bool) {
	s.queue = slices.DeleteFunc(s.queue, func(q *queuedJob) bool {
		if !which(q) {
			return false
		}
		q.until = s.w.now
		s.removed = append(s.removed, q)
		return true
	})
}

// purgeRun removes all jobs of a run.
func (s *server) purgeRun(run jobs.RunID) {
	s.remove(func(q *queuedJob) bool { return q.job.Run == run })
}

// ring notifies workers that jobs are waiting. The network may lose these bells.
func (s *server) ring() {
	for _, k := range s.w.workers {
		if !k.alive || k.cutIn || !k.connected() || s.w.chance(s.w.net.loss) {
			continue
		}
		s.w.after(s.w.delay(), k.party, "receives the bell", k.pull)
	}
}

// waiting reports whether a pull of the worker would return a job.
func (s *server) waiting(k *worker) bool {
	return slices.ContainsFunc(s.queue, func(q *queuedJob) bool { return s.ready(q, k) })
}

func (s *server) ready(q *queuedJob, k *worker) bool {
	return (q.deliveries == 0 || q.due <= s.w.now) && k.offers(q.job.Lane)
}

// pulled returns jobs for the given number of slots of a worker. It takes them lane
// after lane, in the order in which a worker pulls.
func (s *server) pulled(k *worker, slots int) []delivered {
	var out []delivered
	for q := s.next(k, slots); q != nil; q = s.next(k, slots) {
		s.w.checks.inOrder(s.w, k, q.job)
		takes := min(q.job.Slots, k.slots)
		slots -= takes
		q.deliveries++
		q.due = s.w.now + ackWait
		out = append(out, delivered{s.boot, q.job, q.sequence, q.deliveries, q.stored, s.w.now, takes})
	}
	return out
}

// next returns the first job of the most urgent lane. Among lanes of equal rank, it
// takes the one with the oldest job.
func (s *server) next(k *worker, slots int) *queuedJob {
	var first *queuedJob
	seen := map[jobs.Lane]bool{}
	for _, q := range s.queue {
		if seen[q.job.Lane] || !s.ready(q, k) {
			continue
		}
		seen[q.job.Lane] = true
		if min(q.job.Slots, k.slots) <= slots && (first == nil || q.job.Rank.Compare(first.job.Rank) < 0) {
			first = q
		}
	}
	return first
}

// delivered is a job on its way to a worker.
type delivered struct {
	boot     int // of the server
	job      *jobs.Job
	sequence uint64
	number   int
	stored   time.Time
	sent     time.Duration
	slots    int
}

func (s *server) ack(sequence uint64) {
	for _, q := range s.queue {
		if q.sequence == sequence {
			s.w.checks.acked(s.w, q.job)
		}
	}
	s.remove(func(q *queuedJob) bool { return q.sequence == sequence })
}

func (s *server) inProgress(sequences []uint64) {
	for _, q := range s.queue {
		if slices.Contains(sequences, q.sequence) {
			q.due = s.w.now + ackWait
		}
	}
}

// put writes a worker's entry when its last revision is the given one. It returns
// the new revision, or 0 when it refuses.
func (s *server) put(k jobs.WorkerInfo, expect uint64) uint64 {
	if s.written[k.Name] != expect {
		return 0
	}
	s.revision++
	s.written[k.Name] = s.revision
	s.registry[k.Name] = &entry[jobs.WorkerInfo]{k, s.revision, s.clock()}
	s.changed(change{worker: k})
	s.sweepLater()
	return s.revision
}

func (s *server) leave(name string, expect uint64) {
	if _, ok := s.registry[name]; ok && s.written[name] == expect {
		delete(s.registry, name)
		s.revision++
		s.written[name] = s.revision
		s.changed(change{worker: jobs.WorkerInfo{Name: name}, gone: true, left: true})
	}
}

func (s *server) changed(c change) {
	for _, o := range s.w.orchestrators {
		for _, r := range s.w.runs {
			if d := o.deciders[r.id]; d != nil {
				d.registryChanged(c)
			}
		}
	}
}

// sweepLater schedules the expiry of entries.
func (s *server) sweepLater() {
	if s.sweeping || len(s.registry)+len(s.leases) == 0 {
		return
	}
	s.sweeping = true
	var first time.Time
	look := func(at time.Time) {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	for _, e := range s.registry {
		if s.registryExpires() {
			look(e.stored.Add(workerTTL))
		} else {
			look(s.clock().Add(s.registryBack - s.w.now))
		}
	}
	for _, e := range s.leases {
		look(e.stored.Add(leaseTTL))
	}
	s.w.after(max(time.Millisecond, first.Sub(s.clock())), nil, "expires entries", func() {
		s.sweeping = false
		s.sweep()
		s.sweepLater()
	})
}

func (s *server) registryAway() bool    { return s.w.now < s.registryBack }
func (s *server) registryExpires() bool { return s.registrySweeps || !s.registryAway() }

func (s *server) sweep() {
	now := s.clock()
	for _, k := range s.w.workers {
		if e := s.registry[k.name]; e != nil && s.registryExpires() && !now.Before(e.stored.Add(workerTTL)) {
			delete(s.registry, k.name)
			s.revision++
			s.written[k.name] = s.revision
			s.w.note("nats", "expires worker", k.name)
			s.changed(change{worker: jobs.WorkerInfo{Name: k.name}, gone: true})
		}
	}
	for _, r := range s.w.runs {
		if e := s.leases[r.id]; e != nil && !now.Before(e.stored.Add(leaseTTL)) {
			delete(s.leases, r.id)
			s.w.note("nats", "expires the lease of", r.id)
		}
	}
}

// restart restarts the server. It forgets its memory and all requests under way.
// The function lose removes stored data before the server is up again.
func (s *server) restart(down time.Duration, lose func()) {
	s.boot++
	s.down = true
	clear(s.registry)
	clear(s.written)
	s.w.note("nats", "is down for", down)
	lose()
	s.w.after(down, nil, "nats is up again", func() {
		s.down = false
		s.boot++
		s.made = s.clock()
		for _, p := range s.w.parties() {
			s.w.after(s.w.delay(), p, "reconnects", func() { s.w.reconnect(p) })
		}
	})
}

// reconnect connects a party again.
func (w *world) reconnect(p *party) {
	p.connect()
	for _, o := range w.orchestrators {
		if o.party == p {
			o.reconnected()
		}
	}
	for _, k := range w.workers {
		if k.party == p {
			k.reconnected()
		}
	}
}
