package worker

import (
	"sync"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// stop is a request to end an attempt before its time.
type stop struct {
	status  jobs.AttemptStatus // what the outcome says, whatever the exit code
	text    string
	grace   time.Duration // between TERM and KILL; 0 = KILL at once
	discard bool          // somebody else has closed the attempt: there is no outcome to commit
}

// stopper holds what was asked of an attempt. The first request says how it
// ends; later ones can only make it end sooner, or for nothing.
type stopper struct {
	changed chan struct{} // holds one token after a request, until it is looked at

	mu    sync.Mutex
	first *stop
}

func newStopper() *stopper { return &stopper{changed: make(chan struct{}, 1)} }

func (s *stopper) ask(req stop) {
	s.mu.Lock()
	if s.first == nil {
		s.first = &req
	} else {
		if req.grace == 0 {
			s.first.grace = 0
		}
		s.first.discard = s.first.discard || req.discard
	}
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *stopper) asked() (stop, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		return stop{}, false
	}
	return *s.first, true
}
