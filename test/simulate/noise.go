package simulate

import (
	"errors"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// errJunk is why junk cannot be read.
var errJunk = errors.New("not a message")

// makeNoise writes into cells from time to time, as a stranger to the system: it
// writes bytes that no reader can decode, and records that do not fit.
func (w *world) makeNoise() {
	often := w.between(50*time.Millisecond, time.Second)
	var next func()
	next = func() {
		w.after(w.between(0, 2*often), nil, "writes noise", func() {
			if w.fair {
				return
			}
			// A worker that finds noise asks an orchestrator. A deserted run has no
			// orchestrator to answer. Its locks would stay held.
			if r := w.runs[w.rand.IntN(len(w.runs))]; !w.server.down && !r.deserted && !r.gone {
				w.server.noise(r, w.stray(r))
			}
			next()
		})
	}
	next()
}

// noise stores a stray record without a check of the cell's last entry.
func (s *server) noise(r *run, e jobs.Entry) {
	s.sequence += 1 + s.w.rand.Uint64N(3)
	e.Sequence, e.Time = s.sequence, s.clock()
	e = s.logs[r.id].add(e, "", s.w.now)
	s.w.trace.mix(e.Sequence)
	s.w.note("noise", "in", r.id, e.Cell, kindOf(&e.Record), describe(&e.Record), "at", e.Sequence)
	s.w.checks.appended(s.w, r.id, &e, true, false)
	s.notify(r.id)
}

// stray draws a record that does not fit the current state of the log.
func (w *world) stray(r *run) jobs.Entry {
	modules := r.truth.spec.Pipeline.Modules
	e := jobs.Entry{Cell: jobs.ModuleID(modules[w.rand.IntN(len(modules))].Token)}
	if w.chance(0.05) {
		e.Cell = "nomodule"
	}
	attempt := jobs.Attempt(w.rand.IntN(5))
	for r.truth.state.Open(jobs.AttemptID{Module: e.Cell, Attempt: attempt}) || attempt == 0 {
		attempt++
	}
	switch w.rand.IntN(4) {
	case 0:
		e.Record.Claim = &jobs.Claim{Attempt: attempt, Worker: "w1", Incarnation: "noise", Nonce: "noise"}
	case 1:
		e.Record.Outcome = &jobs.Outcome{Attempt: attempt, Status: report.AttemptSucceeded, Worker: "w1", Incarnation: "noise", Nonce: "noise"}
	case 2:
		e.Record.Cancel = &jobs.Cancel{ID: "noise"} // it belongs to another subject
	default:
		e.Unread = errJunk
	}
	return e
}
