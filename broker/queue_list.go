package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// QueuedJob is a job in the queue, by its subject.
type QueuedJob struct {
	Run     jobs.RunID // empty when the subject names no attempt of a run
	subject string
}

// QueuedJobs lists the jobs in the queue, in any order.
func (c *Conn) QueuedJobs(ctx context.Context) ([]QueuedJob, error) {
	var list []QueuedJob
	for offset := 0; ; {
		query := fmt.Appendf(nil, `{"subjects_filter":%q,"offset":%d}`, c.names.jobsAll(), offset)
		m, err := c.api(ctx, "STREAM.INFO."+c.names.jobsStream(), query)
		if err != nil {
			return nil, fmt.Errorf("list the jobs in the queue: %w", err)
		}
		var info struct {
			Total int `json:"total"`
			State struct {
				Subjects map[string]uint64 `json:"subjects"`
			} `json:"state"`
		}
		if err := json.Unmarshal(m.Data, &info); err != nil {
			return nil, fmt.Errorf("read the list of jobs: %w", err)
		}
		for subject := range info.State.Subjects {
			_, run, _, ok := c.names.parseJob(subject)
			if !ok || !jobs.ValidID(string(run)) {
				run = ""
			}
			list = append(list, QueuedJob{Run: run, subject: subject})
		}
		offset += len(info.State.Subjects)
		if len(info.State.Subjects) == 0 || offset >= info.Total {
			return list, nil
		}
	}
}

// QueuedRuns returns the runs that have jobs in the queue.
func (c *Conn) QueuedRuns(ctx context.Context) (map[jobs.RunID]bool, error) {
	list, err := c.QueuedJobs(ctx)
	runs := map[jobs.RunID]bool{}
	for _, q := range list {
		if q.Run != "" {
			runs[q.Run] = true
		}
	}
	return runs, err
}

// CheckJob reads a job and returns when it was stored, and whether it can be
// decoded: jobs.ErrNewer, jobs.ErrMalformed. ErrNotFound when it is no longer in
// the queue.
func (c *Conn) CheckJob(ctx context.Context, q QueuedJob) (stored time.Time, err error) {
	l, err := c.last(ctx, c.names.jobsStream(), q.subject)
	if err != nil {
		return time.Time{}, err
	}
	body, err := c.unpack(ctx, l.msg, jobs.MaxMessage)
	if err == nil {
		_, err = jobs.Unmarshal[jobs.Job](body)
	}
	if errors.Is(err, ErrNotFound) { // what the job refers to
		err = fmt.Errorf("%w: what it refers to is gone: %v", jobs.ErrMalformed, err) //nolint:errorlint // the job itself is there
	}
	return l.time, err
}

// DropJob removes a job from the queue.
func (c *Conn) DropJob(ctx context.Context, q QueuedJob) error {
	return c.purge(ctx, c.names.jobsStream(), q.subject)
}
