package orchestrator

import (
	"context"
	"errors"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// mostJobsRead is how many jobs one sweep reads. Later sweeps read the others.
const mostJobsRead = 1000

// dropJobs removes jobs that no worker can do:
//
//   - Jobs whose subjects name no attempt, and jobs of runs that do not exist. A
//     run exists before its first job, because its specification is stored first.
//   - Jobs of a newer version, after the grace, in which a newer worker could
//     have taken them. It keeps them while an orchestrator of a newer version
//     decides for the run.
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

// newer reports whether a job is of a newer version and has been in the queue for
// at least the grace.
func (s *sweep) newer(ctx context.Context, q broker.QueuedJob) (bool, error) {
	stored, err := s.conn.Queue.Check(ctx, q)
	switch {
	case errors.Is(err, jobs.ErrNewer):
		return s.now.Sub(stored) >= s.keep.Grace, nil
	case errors.Is(err, broker.ErrNotFound), errors.Is(err, jobs.ErrMalformed): // a worker has done it, or will fail it
		return false, nil
	}
	return false, err
}
