package schedule

import (
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// Action is something that the caller of Decide is to do. What it writes
// comes back as an entry of the log; a write that is refused needs nothing.
type Action interface{ action() }

// Prepare asks for a lane: its consumer, and its entry in the lanes' bucket.
// Answer with Dispatcher.Prepared.
type Prepare struct {
	Lane jobs.Lane
	Set  jobs.LaneSet
}

// Publish puts the job of an attempt on its lane. The caller sets StoreBy.
// Answer with Dispatcher.Unpublished when it cannot be stored, or it is not
// known whether it was.
type Publish struct {
	Node int
	*jobs.Job
}

// ID names the attempt.
func (p Publish) ID() jobs.AttemptID { return jobs.AttemptID{Module: p.Module, Attempt: p.Attempt} }

// Close records an outcome in a module's cell, expecting that nothing was
// written there since. Purge removes the attempt's job first: it has no claim.
type Close struct {
	Cell    jobs.ModuleID
	Expect  uint64
	Outcome jobs.Outcome
	Purge   *jobs.AttemptID
	Lane    jobs.Lane
}

// Ask asks the worker of an attempt to end it.
type Ask struct {
	Worker string // that has claimed the attempt
	Cancel jobs.CancelAttempt
}

// Write appends a record to the run's control subject, expecting Expect to be
// its last sequence.
type Write struct {
	Expect uint64
	Record jobs.Record
}

// Audit asks whether the job of an attempt is in the queue. Answer with
// Dispatcher.Missing when it is not.
type Audit struct {
	ID   jobs.AttemptID
	Lane jobs.Lane
}

// CancelRun cancels the run since its deadline has passed. Expect is the last
// sequence of its cancel subject.
type CancelRun struct {
	Expect uint64
	Cancel jobs.Cancel
}

// Finish ends the run: every module of it has ended.
type Finish struct{ End jobs.End }

func (Prepare) action()   {}
func (Publish) action()   {}
func (Close) action()     {}
func (Ask) action()       {}
func (Write) action()     {}
func (Audit) action()     {}
func (CancelRun) action() {}
func (Finish) action()    {}

const (
	askEvery     = time.Second           // a request to a worker goes by core NATS, which may lose it
	silence      = 5 * time.Second       // past timeout or cancellation and grace: the worker is silent about its attempt
	auditAfter   = 5 * time.Second       // unclaimed for so long while workers are free
	queuedAhead  = 50 * time.Millisecond // of work is kept on a lane beyond the free slots
	aheadAtMost  = 128                   // jobs beyond each slot
	shortestWork = 50 * time.Microsecond // what an attempt counts as at least

	// How long after a lane has appeared modules of other lanes wait until it
	// is known which workers serve it: those of a lower priority, and those of the same.
	settleUrgent = 2 * time.Second
	settleEqual  = 100 * time.Millisecond
)

// Module is the module of a node.
func (r *Run) Module(i int) *pipeline.Module { return r.modules[i] }

// ModuleOf is the module with this token; nil when the run has no such module (yet).
func (r *Run) ModuleOf(t jobs.ModuleID) *pipeline.Module {
	if i, ok := r.byToken[t]; ok {
		return r.modules[i]
	}
	return nil
}

// Spec is what the run was started with.
func (r *Run) Spec() *jobs.Spec { return r.spec }

// Ended is the verdict, nil while the run goes on.
func (r *Run) Ended() *jobs.End { return r.end }

// Control is the last sequence of the control subject, Epoch that of the
// newest takeover.
func (r *Run) Control() (sequence, epoch uint64) { return r.ctl, r.epoch }

// CancelSequence is the last sequence of the cancel subject.
func (r *Run) CancelSequence() uint64 { return r.cancelSeq }

// TooLate reports whether the cancellation with this id came when the last
// module had ended.
func (r *Run) TooLate(id string) bool { return r.tooLate[id] }

// Live is how many modules have not ended.
func (r *Run) Live() int { return r.live }

// NameOf is the name of the module with this token, or the token itself when
// the run has no such module (yet).
func (r *Run) NameOf(t jobs.ModuleID) string {
	if i, ok := r.byToken[t]; ok {
		return r.modules[i].Name
	}
	return string(t)
}

// StatusOf is the status of a module by its name; Waiting for an unknown name.
func (r *Run) StatusOf(name string) report.Status {
	if i, ok := r.byName[name]; ok {
		return r.nodes[i].status
	}
	return report.Waiting
}

// TokenOf is the token of the module with this name.
func (r *Run) TokenOf(name string) (jobs.ModuleID, bool) {
	i, ok := r.byName[name]
	if !ok {
		return "", false
	}
	return jobs.ModuleID(r.modules[i].Token), true
}
