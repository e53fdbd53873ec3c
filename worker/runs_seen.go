package worker

import (
	"context"
	"sync"

	"github.com/modpipe/modpipe/jobs"
)

// mostRuns is how many runs are remembered.
const mostRuns = 1000

// runsSeen remembers which runs exist, and which do not: the id of a run is never used
// twice. It is safe for concurrent use.
type runsSeen struct {
	mu     sync.Mutex
	known  map[jobs.RunID]bool
	absent map[jobs.RunID]bool // which were reported
	unkept map[jobs.RunID]bool // whose cache directories are not kept, which was said
}

// exists reports whether a run exists. It is true when NATS does not answer.
func (r *runsSeen) exists(ctx context.Context, s *shift, run jobs.RunID) bool {
	if r.seen(run) {
		return true
	}
	there, err := s.conn.Runs.Exists(ctx, run)
	if err == nil && !there && r.note(&r.absent, run) {
		s.log.Warn("left jobs of a run that does not exist; a sweep removes them", "run", run)
	}
	if err != nil || !there {
		return err != nil
	}
	r.note(&r.known, run)
	return true
}

func (r *runsSeen) seen(run jobs.RunID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[run]
}

// note adds a run, and reports whether it is new.
func (r *runsSeen) note(runs *map[jobs.RunID]bool, run jobs.RunID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if (*runs)[run] {
		return false
	}
	if *runs == nil || len(*runs) >= mostRuns {
		*runs = map[jobs.RunID]bool{}
	}
	(*runs)[run] = true
	return true
}
