package simulate

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// forger has the rights of a worker and none of its manners. It reads every cell and
// writes into it at any time, whatever the last record is. It has the keys of the
// attempts that one worker, its accomplice, has received. The accomplice itself
// keeps to the protocol. A nil forger does nothing.
type forger struct {
	w          *world
	accomplice *worker
	keys       []leak
	tainted    map[leakedID]bool
	memory     []memory // of records in cells, newest last
	lost       []memory // of these, what the server has lost
	copies     map[leakedAt]bool
	often      time.Duration
}

// leakedID is an attempt of which the forger has the key.
type leakedID struct {
	run jobs.RunID
	id  jobs.AttemptID
}

// leakedAt is the place of a record with a genuine signature that the forger wrote.
type leakedAt struct {
	cell     jobs.ModuleID
	sequence uint64
}

// leak is a key that the forger has.
type leak struct {
	leakedID
	signed code
	nonce  string
}

// memory is a record that the forger has read, with its signature.
type memory struct {
	run    jobs.RunID
	entry  jobs.Entry
	signed code
}

// mostRemembered bounds the records that the forger can write again.
const mostRemembered = 300

func newForger(w *world) *forger {
	f := &forger{w: w, tainted: map[leakedID]bool{}, copies: map[leakedAt]bool{}}
	f.often = time.Duration(20+w.fraud.IntN(400)) * time.Millisecond
	return f
}

// begin starts to forge. It ends with the faults.
func (f *forger) begin() {
	if f == nil {
		return
	}
	if f.w.fraud.IntN(3) > 0 {
		f.accomplice = f.w.workers[f.w.fraud.IntN(len(f.w.workers))]
	}
	f.next()
}

func (f *forger) next() {
	f.w.after(time.Duration(f.w.fraud.Int64N(int64(2*f.often))), nil, "forges", func() {
		if f.w.fair {
			return
		}
		f.act()
		f.next()
	})
}

// has reports whether the forger has the key of an attempt.
func (f *forger) has(run jobs.RunID, id jobs.AttemptID) bool {
	return f != nil && f.tainted[leakedID{run, id}]
}

// mayCount reports whether a record that the forger has written may count: one with a
// key that it has, a copy of what the server has lost, or one that may be repeated.
func (f *forger) mayCount(run jobs.RunID, e *jobs.Entry) bool {
	id := attemptIn(e)
	return f.has(run, id) || f != nil && e.Auth == jobs.Verified && (f.w.server.lost || id.Attempt == 0)
}

// misleads reports whether a record of a cell is a copy of a genuine one. A worker
// that finds a copy of its claim may write its outcome again, which is noise.
func (f *forger) misleads(cell jobs.ModuleID, sequence uint64) bool {
	return f != nil && f.copies[leakedAt{cell, sequence}]
}

// learns takes the key of a job that the accomplice has received.
func (f *forger) learns(k *worker, j *jobs.Job, nonce string) {
	if f == nil || k != f.accomplice || len(j.Key) == 0 {
		return
	}
	at := leakedID{j.Run, jobs.AttemptID{Module: j.Module, Attempt: j.Attempt}}
	f.tainted[at] = true
	f.keys = append(f.keys, leak{at, code(j.Key), nonce})
}

// reads remembers a record of a cell.
func (f *forger) reads(run jobs.RunID, e *jobs.Entry, signed code) {
	if f == nil || e.Cell == "" {
		return
	}
	f.memory = append(f.memory, memory{run, *e, signed})
	if len(f.memory) > mostRemembered {
		f.memory = f.memory[1:]
	}
}

// misses notes that the server has lost the records of a run from a sequence on. It
// repeats some of them soon.
func (f *forger) misses(run jobs.RunID, from uint64) {
	if f == nil {
		return
	}
	f.lost = nil
	for _, m := range f.memory {
		if m.run == run && m.entry.Sequence >= from {
			f.lost = append(f.lost, m)
		}
	}
	for range min(len(f.lost), 1+f.w.fraud.IntN(6)) {
		f.w.after(time.Duration(f.w.fraud.Int64N(int64(6*time.Second))), nil, "repeats what is lost", func() {
			if !f.w.fair && !f.w.server.down {
				f.replay()
			}
		})
	}
}

// act forges once.
func (f *forger) act() {
	d := f.w.fraud
	r := f.w.runs[d.IntN(len(f.w.runs))]
	if f.w.server.down || r.deserted || r.gone {
		return
	}
	switch d.IntN(12) {
	case 0, 1, 2:
		f.write(r, f.fitting(r), "")
	case 3:
		if len(f.keys) > 0 {
			f.write(r, f.fitting(r), f.keys[d.IntN(len(f.keys))].signed)
		}
	case 4, 5:
		f.betray()
	case 6, 7, 8:
		f.replay()
	case 9, 10:
		f.asks(r)
	default:
		if d.IntN(4) == 0 {
			f.flood(r)
		}
	}
}

// write stores a record without a check of the cell's last entry.
func (f *forger) write(r *run, e jobs.Entry, signed code) {
	s := f.w.server
	s.sequence += 1 + f.w.fraud.Uint64N(3)
	e.Sequence, e.Time, e.Auth = s.sequence, s.clock(), jobs.Unverified
	e = s.logs[r.id].add(e, signed, f.w.now)
	if e.Auth == jobs.Verified {
		f.copies[leakedAt{e.Cell, e.Sequence}] = true
	}
	f.w.trace.mix(e.Sequence)
	f.w.note("forger", "writes a "+kindOf(&e.Record), r.id, e.Cell, describe(&e.Record), "signed", signed, "at", e.Sequence)
	f.w.checks.appended(f.w, r.id, &e, true, false)
	s.notify(r.id)
}

// cellOf draws a module of a run and its attempt that is open; 1 when none is.
func (f *forger) cellOf(r *run) (jobs.ModuleID, jobs.Attempt) {
	var all []jobs.ModuleID
	for id := range r.truth.modules {
		all = append(all, id)
	}
	slices.Sort(all)
	cell := all[f.w.fraud.IntN(len(all))]
	for n := jobs.Attempt(1); n < 9; n++ {
		if r.truth.state.Open(jobs.AttemptID{Module: cell, Attempt: n}) {
			return cell, n
		}
	}
	return cell, 1
}

// fitting draws a record that could have been written by the rules.
func (f *forger) fitting(r *run) jobs.Entry {
	cell, n := f.cellOf(r)
	if f.w.fraud.IntN(8) == 0 {
		n = jobs.Attempt(f.w.fraud.IntN(4))
	}
	return f.record(r, cell, n, f.nonce(r, cell))
}

// nonce copies the newest claim of a cell, in most cases.
func (f *forger) nonce(r *run, cell jobs.ModuleID) jobs.Claim {
	l := r.logOf(f.w)
	if i, ok := l.newest[cell]; ok && f.w.fraud.IntN(4) > 0 {
		if c := l.entries[i].Record.Claim; c != nil {
			return *c
		}
	}
	k := f.w.workers[f.w.fraud.IntN(len(f.w.workers))]
	return jobs.Claim{Worker: k.name, Incarnation: k.self.Incarnation, Nonce: "forged"}
}

func (r *run) logOf(w *world) *log { return w.server.logs[r.id] }

func (f *forger) record(r *run, cell jobs.ModuleID, n jobs.Attempt, as jobs.Claim) jobs.Entry {
	d := f.w.fraud
	e := jobs.Entry{Cell: cell}
	if n > 0 && d.IntN(3) == 0 {
		as.Attempt = n
		e.Record.Claim = &as
		return e
	}
	o := &jobs.Outcome{Attempt: n, Worker: as.Worker, Incarnation: as.Incarnation, Nonce: as.Nonce, Finished: f.w.server.clock()}
	o.Status = []report.AttemptStatus{report.AttemptSucceeded, report.AttemptFailed, report.AttemptLost, report.AttemptTimedOut}[d.IntN(4)]
	if m := r.truth.known[cell]; m != nil && m.Cache != nil && o.Status == report.AttemptSucceeded {
		o.Status = report.AttemptFailed
	}
	if d.IntN(4) == 0 {
		o.By = "orchestrator"
	}
	e.Record.Outcome = o
	return e
}

// betray writes a record of an attempt with the key of that attempt.
func (f *forger) betray() {
	if len(f.keys) == 0 {
		return
	}
	d := f.w.fraud
	k := f.keys[max(0, len(f.keys)-1-d.IntN(4))]
	r := f.w.runOf(k.run)
	if r.gone || r.deserted {
		return
	}
	as := f.nonce(r, k.id.Module)
	if d.IntN(2) == 0 {
		as = jobs.Claim{Worker: f.accomplice.name, Incarnation: f.accomplice.self.Incarnation, Nonce: k.nonce}
	}
	n := k.id.Attempt
	if d.IntN(6) == 0 { // another attempt than that of the key
		n = jobs.Attempt(d.IntN(4))
	}
	f.write(r, f.record(r, k.id.Module, n, as), k.signed)
}

// replay writes a record again that it has read, with its signature.
func (f *forger) replay() {
	if len(f.memory) == 0 {
		return
	}
	m := f.memory[f.w.fraud.IntN(len(f.memory))]
	if len(f.lost) > 0 && f.w.fraud.IntN(3) > 0 {
		m = f.lost[f.w.fraud.IntN(len(f.lost))]
	}
	if r := f.w.runOf(m.run); !r.gone && !r.deserted {
		f.write(r, m.entry, m.signed)
	}
}

// asks asks in the name of a worker. The answer, which is genuine, goes to that
// worker.
func (f *forger) asks(r *run) {
	d := f.w.fraud
	cell, n := f.cellOf(r)
	as := f.nonce(r, cell)
	q := jobs.Question{Worker: as.Worker, Module: cell, Attempt: n, Nonce: as.Nonce, ID: fmt.Sprintf("%s.%d", as.Nonce, 1+d.IntN(3))}
	switch d.IntN(4) {
	case 0:
		q.Sequence = math.MaxUint64
	case 1:
		q.Sequence = f.w.server.sequence
	case 2:
		q.Attempt = jobs.Attempt(d.IntN(4))
	}
	f.w.note("forger", "asks", r.id, q.Module, q.Attempt, "by", q.Worker, "at", q.Sequence)
	for _, k := range f.w.workers {
		if k.name == as.Worker {
			f.ask(r.id, &q, k)
		}
	}
}

func (f *forger) ask(run jobs.RunID, q *jobs.Question, k *worker) {
	for _, o := range f.w.orchestrators {
		if o.alive && !o.cutIn && o.connected() {
			f.w.after(f.w.delay(), o.party, "receives a forged question", func() { o.answer(run, q, k) })
		}
	}
}

// hears answers the question of a worker, without its key.
func (f *forger) hears(run jobs.RunID, q *jobs.Question, k *worker) {
	if f == nil || f.w.fair || f.w.fraud.IntN(3) > 0 {
		return
	}
	d := f.w.fraud
	a := jobs.Answer{ID: q.ID, Epoch: d.Uint64N(1 << 10), Claim: q.Sequence, Last: q.Sequence}
	a.State = []jobs.Standing{jobs.StandsClosed, jobs.StandsYours, jobs.StandsTaken, jobs.StandsOpen}[d.IntN(4)]
	signed := code("")
	if len(f.keys) > 0 && d.IntN(2) == 0 {
		x := f.keys[d.IntN(len(f.keys))]
		if x.leakedID == (leakedID{run, jobs.AttemptID{Module: q.Module, Attempt: q.Attempt}}) {
			return // workers of one lane trust each other
		}
		signed = x.signed
	}
	f.w.note("forger", "answers", run, q.Module, q.Attempt, a.State, "signed", signed)
	f.w.after(f.w.delay(), k.party, "receives a forged answer", func() { k.answered(&a, signed) })
}

// flood writes into one cell again and again, for up to two seconds.
func (f *forger) flood(r *run) {
	d := f.w.fraud
	cell, n := f.cellOf(r)
	until, every := f.w.now+time.Duration(d.Int64N(int64(2*time.Second))), time.Duration(1+d.IntN(5))*time.Millisecond
	var again func()
	again = func() {
		f.w.after(every, nil, "floods a cell", func() {
			if f.w.fair || f.w.now > until || f.w.server.down || r.gone {
				return
			}
			f.write(r, f.record(r, cell, n, f.nonce(r, cell)), "")
			again()
		})
	}
	again()
}
