package attempt

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// Stop is a request to end an attempt before its time.
type Stop struct {
	Status  jobs.AttemptStatus // what the outcome says, whatever the exit code
	Text    string
	Grace   time.Duration // between TERM and KILL; 0 = KILL at once
	Discard bool          // somebody else has closed the attempt: there is no outcome to commit
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
	if !d.job.Keyed || d.claimed.Load() == 0 {
		return false
	}
	d.stops.Ask(d.lost())
	return true
}

// lost is the end of what holds a key under a lease that has lapsed.
func (d *Delivery) lost() Stop {
	return Stop{Status: jobs.AttemptLost, Text: "worker " + d.w.Name + " could not renew its lease"}
}

// Cancelled hears a request to cancel an attempt of a run: this one or another.
func (d *Delivery) Cancelled(run jobs.RunID, c *jobs.CancelAttempt) {
	if d.job.Run != run || d.job.Token != c.Token || d.job.Attempt != c.Attempt {
		return
	}
	st := Stop{Status: jobs.AttemptCancelled, Text: cmp.Or(c.Reason, "cancelled"), Grace: d.job.Grace}
	if c.TimedOut {
		st.Status = jobs.AttemptTimedOut
	}
	if c.Kill {
		st.Grace = 0
	}
	d.stops.Ask(st)
}

// HandBack asks for the end because the worker goes.
func (d *Delivery) HandBack(text string, grace time.Duration) {
	d.stops.Ask(Stop{Status: jobs.AttemptHandedBack, Text: text, Grace: grace})
}
