package attempt

import (
	"maps"
	"sync"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// silence remembers the runs whose orchestrators have not answered a question.
// Without it, the jobs of a run without an orchestrator would occupy a worker all
// the time: the queue delivers each of them again and again, and each waits for
// an answer.
type silence struct {
	mu    sync.Mutex
	since map[jobs.RunID]time.Time // end of the last question without an answer
}

// note records that a question about a run was not answered.
func (s *silence) note(run jobs.RunID, now time.Time, lasts time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.since, func(_ jobs.RunID, at time.Time) bool { return now.Sub(at) >= lasts })
	if s.since == nil {
		s.since = map[jobs.RunID]time.Time{}
	}
	s.since[run] = now
}

// end forgets a run whose orchestrator has answered.
func (s *silence) end(run jobs.RunID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.since, run)
}

// holds reports whether the last question about a run got no answer, less than
// lasts ago.
func (s *silence) holds(run jobs.RunID, now time.Time, lasts time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.since[run]
	return ok && now.Sub(at) < lasts
}
