package attempt

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// Stop is a request to end an attempt before its time.
type Stop struct {
	Status  report.AttemptStatus // of the outcome, whatever the exit code
	Text    string
	Grace   time.Duration // between TERM and KILL; 0 = KILL immediately
	Discard bool          // another process has closed the attempt: there is no outcome to commit
	Forget  bool          // with Discard: the job is not acknowledged either
}

// Stops holds the requests to end an attempt. The first one decides how it ends;
// later ones can only shorten the grace, or discard the outcome.
type Stops struct {
	changed chan struct{} // holds one token after a request, until it is received

	mu     sync.Mutex
	first  *Stop
	within context.CancelFunc // of the work before or after the execution; may be nil
}

// NewStops holds no request.
func NewStops() *Stops { return &Stops{changed: make(chan struct{}, 1)} }

// Changed receives a token after a request.
func (s *Stops) Changed() <-chan struct{} { return s.changed }

// Ask adds a request.
func (s *Stops) Ask(req Stop) {
	s.mu.Lock()
	if s.first == nil {
		s.first = &req
	} else {
		if req.Grace == 0 {
			s.first.Grace = 0
		}
		s.first.Discard = s.first.Discard || req.Discard
		s.first.Forget = s.first.Forget || req.Forget
	}
	if s.within != nil {
		s.within()
	}
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Within returns a context for work before the execution, one piece at a time. A
// request ends it.
func (s *Stops) Within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.within = cancel; s.first != nil {
		cancel()
	}
	return ctx, cancel
}

// After returns a context for work after the execution. A request ends it, but not
// the time-out that has ended the execution: what a module left is stored then, too.
func (s *Stops) After(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.within = cancel; s.first != nil && s.first.Status != report.AttemptTimedOut {
		cancel()
	}
	return ctx, cancel
}

// Asked returns the request, if there is one.
func (s *Stops) Asked() (Stop, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		return Stop{}, false
	}
	return *s.first, true
}

// Discarded reports whether another process has closed the attempt.
func (d *Delivery) Discarded() bool {
	st, ok := d.stops.Asked()
	return ok && st.Discard
}

// Lapsed ends the attempt because the lease of the worker has lapsed, if it holds a
// key: without a grace, before another worker may start it. It reports whether it
// did.
func (d *Delivery) Lapsed() bool {
	if !d.job.Keyed || !d.Claimed() {
		return false
	}
	d.stops.Ask(d.lost())
	return true
}

// lost is the end of an attempt with a key under a lease that has lapsed.
func (d *Delivery) lost() Stop {
	return Stop{Status: report.AttemptLost, Text: "worker " + d.w.Name + " could not renew its lease"}
}

// Reconnected reads the cell of a delivery on a new connection, before the worker's
// next heartbeat: the server may have lost the last part of the log. The delivery
// goes on when its own claim is the last record of the cell, even if that was not
// answered. Otherwise the execution is killed and forgotten: the job is delivered
// again, or the orchestrator knows about it.
func (d *Delivery) Reconnected(ctx context.Context) error {
	if d.position.Load().on == d.w.Log.Connection() {
		return nil // it arrived on this connection, or has read the cell on it
	}
	at, err := d.readCell(ctx)
	if err != nil {
		return err
	}
	switch at.state {
	case myClaim:
		d.holdAt(at)
	case myOutcome: // the commit recognises it
	case asExpected, anothersClaim, closed, unexplained:
		d.forget()
	}
	return nil
}

func (d *Delivery) forget() {
	d.w.Logger.Info("forgot an attempt after a new connection to NATS: the log does not show that this worker holds it", "attempt", d.String())
	d.stops.Ask(Stop{Text: "its claim was lost", Discard: true, Forget: true})
}

// Probed records an attempt as lost that this worker has claimed, according to the
// orchestrator, and that no delivery of it holds. on is the connection on which the
// orchestrator asked. The key in the question is no longer sealed.
func (w *Worker) Probed(ctx context.Context, on uint64, p *jobs.Probe) error {
	o := &jobs.Outcome{
		Attempt: p.Attempt, Status: report.AttemptLost, Worker: w.Name, Incarnation: w.Incarnation, Nonce: p.Nonce,
		Error: "the worker does not run what the log says that it has claimed: its connection to NATS broke when it claimed, or NATS has lost the last part of the log", Finished: w.Clock.Now(),
	}
	_, err := w.Log.Append(ctx, on, Cell{Run: p.Run, Module: p.Module, Key: p.Key}, p.Sequence, jobs.Record{Outcome: o})
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrReconnected) {
		return nil // the log has grown, or the orchestrator asks again
	}
	if err == nil {
		w.Logger.Warn("NATS has lost the outcome of an attempt that ran here: recorded as lost", "run", p.Run, "module", p.Module, "attempt", p.Attempt)
	}
	return err
}

// Cancelled passes on a request to cancel an attempt of a run: this one or another.
// It reports false for a request to cancel this one that is not signed with its key,
// which is ignored.
func (d *Delivery) Cancelled(run jobs.RunID, c *jobs.CancelAttempt, by Signature) bool {
	if d.job.Run != run || d.job.Module != c.Module || d.job.Attempt != c.Attempt {
		return true
	}
	if !d.believes(by) {
		return false
	}
	st := Stop{Status: report.AttemptCancelled, Text: cmp.Or(c.Reason, "cancelled"), Grace: d.job.Grace}
	if c.TimedOut {
		st.Status = report.AttemptTimedOut
	}
	if c.Kill {
		st.Grace = 0
	}
	d.stops.Ask(st)
	return true
}

// HandBack asks for the end because the worker has to end.
func (d *Delivery) HandBack(text string, grace time.Duration) {
	d.stops.Ask(Stop{Status: report.AttemptHandedBack, Text: text, Grace: grace})
}
