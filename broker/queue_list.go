package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// QueuedJob is a job in the queue, by its subject.
type QueuedJob struct {
	Run     jobs.RunID // empty when the subject names no attempt of a run
	subject string
}

// List lists the jobs in the queue, in any order.
func (q *Queue) List(ctx context.Context) ([]QueuedJob, error) {
	subjects, err := q.c.Subjects(ctx, streams.Jobs, streams.AllJobs)
	if err != nil {
		return nil, fmt.Errorf("list the jobs in the queue: %w", err)
	}
	list := make([]QueuedJob, 0, len(subjects))
	for _, subject := range subjects {
		_, run, _, ok := topology.ParseJob(subject)
		if !ok || !jobs.ValidID(string(run)) {
			run = ""
		}
		list = append(list, QueuedJob{Run: run, subject: subject})
	}
	return list, nil
}

// Runs returns the runs that have jobs in the queue.
func (q *Queue) Runs(ctx context.Context) (map[jobs.RunID]bool, error) {
	list, err := q.List(ctx)
	runs := map[jobs.RunID]bool{}
	for _, job := range list {
		if job.Run != "" {
			runs[job.Run] = true
		}
	}
	return runs, err
}

// Check reads a job and returns when it was stored, and whether it can be
// decoded: jobs.ErrNewer, jobs.ErrMalformed. ErrNotFound when it is no longer in
// the queue.
func (q *Queue) Check(ctx context.Context, job QueuedJob) (stored time.Time, err error) {
	m, err := q.c.Last(ctx, streams.Jobs, job.subject)
	if err != nil {
		return time.Time{}, err
	}
	body, err := q.Body(ctx, m.Msg)
	if err == nil {
		_, err = jobs.Unmarshal[jobs.Job](body)
	}
	return m.Time, incomplete(err)
}

// Drop removes a job from the queue.
func (q *Queue) Drop(ctx context.Context, job QueuedJob) error {
	return q.c.Purge(ctx, streams.Jobs, job.subject)
}
