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
	Status  report.AttemptStatus // what the outcome says, whatever the exit code
	Text    string
	Grace   time.Duration // between TERM and KILL; 0 = KILL at once
	Discard bool          // somebody else has closed the attempt: there is no outcome to commit
	Forget  bool          // with Discard: nor is the job acknowledged
}

// Stops holds what was asked of an attempt. The first request says how it
// ends; later ones can only make it end sooner, or for nothing.
type Stops struct {
	changed chan struct{} // holds one token after a request, until it is looked at

	mu     sync.Mutex
	first  *Stop
	within context.CancelFunc // of what is done before the execution; may be nil
}

// NewStops holds nothing yet.
func NewStops() *Stops { return &Stops{changed: make(chan struct{}, 1)} }

// Changed gives a token after a request.
func (s *Stops) Changed() <-chan struct{} { return s.changed }

// Ask asks for the end.
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

// Within is a context for what is done before the execution, one thing at a
// time: it ends when the end is asked for.
func (s *Stops) Within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.within = cancel; s.first != nil {
		cancel()
	}
	return ctx, cancel
}

// Asked is what was asked, if anything was.
func (s *Stops) Asked() (Stop, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		return Stop{}, false
	}
	return *s.first, true
}

// Discarded reports whether somebody else has closed the attempt.
func (d *Delivery) Discarded() bool {
	st, ok := d.stops.Asked()
	return ok && st.Discard
}

// Lapsed hears that the worker's lease has: what holds a key is killed without
// grace, before anyone else may start. It reports whether this attempt is.
func (d *Delivery) Lapsed() bool {
	if !d.job.Keyed || !d.Claimed() {
		return false
	}
	d.stops.Ask(d.lost())
	return true
}

// lost is the end of what holds a key under a lease that has lapsed.
func (d *Delivery) lost() Stop {
	return Stop{Status: report.AttemptLost, Text: "worker " + d.w.Name + " could not renew its lease"}
}

// Reconnected reads the cell of a delivery when the connection was made again,
// before the worker's next heartbeat: the server may have lost the last part of
// the log. The delivery goes on when its own claim is the last record of the
// cell, also one that was not answered. Everything else is killed and
// forgotten: it is delivered again, or known to the orchestrator.
func (d *Delivery) Reconnected(ctx context.Context) error {
	if d.place.Load().on == d.w.Log.Connection() {
		return nil // it came on this connection, or has looked on it
	}
	at, err := d.look(ctx)
	if err != nil {
		return err
	}
	switch at.what {
	case myClaim:
		d.holdAt(at)
	case myOutcome: // the commit finds it
	case nothingNew, anothersClaim, closed, unclear:
		d.forget()
	}
	return nil
}

func (d *Delivery) forget() {
	d.w.Logger.Info("forgotten: the connection to NATS was made again, and the log does not say that this worker holds the attempt", "attempt", d.String())
	d.stops.Ask(Stop{Text: "its claim was lost", Discard: true, Forget: true})
}

// Probed hears that the orchestrator has a claim of this worker which its
// heartbeats do not name, and that no delivery holds: it is recorded as lost.
// on is the connection on which that was heard.
func (w *Worker) Probed(ctx context.Context, on uint64, p *jobs.Probe) error {
	o := &jobs.Outcome{
		Attempt: p.Attempt, Status: report.AttemptLost, Worker: w.Name, Incarnation: w.Incarnation, Nonce: p.Nonce,
		Error: "the worker does not run what the log says that it has claimed: its connection to NATS broke when it claimed, or NATS has lost the last part of the log", Finished: w.Clock.Now(),
	}
	_, err := w.Log.Append(ctx, on, p.Run, p.Module, p.Sequence, jobs.Record{Outcome: o})
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrReconnected) {
		return nil // the log has gone on, or it is asked again
	}
	return err
}

// Cancelled hears a request to cancel an attempt of a run: this one or another.
func (d *Delivery) Cancelled(run jobs.RunID, c *jobs.CancelAttempt) {
	if d.job.Run != run || d.job.Module != c.Module || d.job.Attempt != c.Attempt {
		return
	}
	st := Stop{Status: report.AttemptCancelled, Text: cmp.Or(c.Reason, "cancelled"), Grace: d.job.Grace}
	if c.TimedOut {
		st.Status = report.AttemptTimedOut
	}
	if c.Kill {
		st.Grace = 0
	}
	d.stops.Ask(st)
}

// HandBack asks for the end because the worker goes.
func (d *Delivery) HandBack(text string, grace time.Duration) {
	d.stops.Ask(Stop{Status: report.AttemptHandedBack, Text: text, Grace: grace})
}
