package orchestrator

import (
	"context"
	"errors"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// mostJobsRead is how many jobs one sweep reads at most; another sweep reads
// others.
const mostJobsRead = 1000

// dropJobs removes jobs that nobody can do:
//
//   - Those whose subjects name no attempt, and those of runs that do not exist:
//     a specification is stored before the first job of its run.
//   - Those of a newer version, after the grace, unless an orchestrator of a
//     newer version decides for the run: newer workers have had their chance.
func (s *sweep) dropJobs(ctx context.Context) error {
	queued, err := s.conn.Queue.List(ctx)
	if err != nil {
		return err
	}
	leases, err := kv.Holders(ctx, s.conn.Conn)
	if err != nil {
		return err
	}
	exists, read := map[jobs.RunID]bool{}, 0
	for _, q := range queued {
		if _, known := exists[q.Run]; !known && q.Run != "" {
			if exists[q.Run], err = s.conn.Runs.Exists(ctx, q.Run); err != nil {
				return err
			}
		}
		newer := false
		if exists[q.Run] && read < mostJobsRead && !leases[string(q.Run)].Unread {
			read++
			newer, err = s.newer(ctx, q)
		}
		if err == nil && (newer || !exists[q.Run]) {
			s.done.Jobs++
			err = s.conn.Queue.Drop(ctx, q)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// newer reports whether a job is of a newer version, and has been in the queue
// for the grace.
func (s *sweep) newer(ctx context.Context, q broker.QueuedJob) (bool, error) {
	stored, err := s.conn.Queue.Check(ctx, q)
	switch {
	case errors.Is(err, jobs.ErrNewer):
		return s.now.Sub(stored) >= s.keep.Grace, nil
	case errors.Is(err, broker.ErrNotFound), errors.Is(err, jobs.ErrMalformed): // it is done, or a worker ends it
		return false, nil
	}
	return false, err
}
