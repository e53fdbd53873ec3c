package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/jobs"
)

// PublishJob publishes a job on its lane, expecting an empty subject. It sends
// immediately, in the order of the calls, and calls done once from another
// goroutine. It does not retry: an unanswered job may be stored. ErrConflict: the
// job is already queued. ErrFull: the job is not stored, and the caller retries
// later. PublishJob blocks while too many publishes are unanswered, and while it
// stores a long job in the object store.
func (c *Conn) PublishJob(ctx context.Context, job *jobs.Job, done func(error)) {
	m, err := c.jobMsg(ctx, job)
	if err != nil {
		c.after.push(func() { done(err) })
		return
	}
	c.storeAsync(ctx, m, func(_ uint64, err error) {
		switch {
		case errors.Is(err, errRacing):
			err = fmt.Errorf("%w: %w", ErrConflict, err)
		case errors.Is(err, ErrFull):
			c.missing(ctx, c.names.jobsStream(), err)
		case err == nil:
			c.found(c.names.jobsStream())
		}
		if err != nil {
			err = fmt.Errorf("publish %s: %w", m.Subject, err)
		}
		done(err)
	})
}

func (c *Conn) jobMsg(ctx context.Context, job *jobs.Job) (*nats.Msg, error) {
	subject, err := c.jobSubject(job.Lane, job.Run, jobs.AttemptID{Module: job.Module, Attempt: job.Attempt})
	if err != nil {
		return nil, err
	}
	body, err := jobs.Marshal(job)
	if err != nil {
		return nil, err
	}
	m, err := c.pack(ctx, subject, body, fails)
	if err != nil {
		return nil, err
	}
	expectLast(m, 0)
	set(m, headerRank, job.Rank.String())
	return m, nil
}

func (c *Conn) jobSubject(lane jobs.Lane, run jobs.RunID, id jobs.AttemptID) (string, error) {
	if !validToken(string(lane)) || !validToken(string(run)) || !validToken(string(id.Module)) {
		return "", fmt.Errorf("lane %q, run %q, module %q: they must be tokens of a subject", lane, run, id.Module)
	}
	return c.names.job(lane, run, id), nil
}

// PurgeJob removes one job by its exact subject.
func (c *Conn) PurgeJob(ctx context.Context, lane jobs.Lane, run jobs.RunID, id jobs.AttemptID) error {
	subject, err := c.jobSubject(lane, run, id)
	if err != nil {
		return err
	}
	return c.purge(ctx, c.names.jobsStream(), subject)
}

// PurgeRun removes all jobs of a run, which must have ended: a run waits for ever
// for a job that was purged while its attempt was open.
func (c *Conn) PurgeRun(ctx context.Context, run jobs.RunID) error {
	if !validToken(string(run)) {
		return fmt.Errorf("%q cannot name a run", run)
	}
	return c.purge(ctx, c.names.jobsStream(), c.names.jobsOfRun(run))
}

func (c *Conn) purge(ctx context.Context, stream, subject string) error {
	query := fmt.Appendf(nil, `{"filter":%q}`, subject)
	if _, err := c.api(ctx, "STREAM.PURGE."+stream, query); err != nil {
		return fmt.Errorf("purge %s: %w", subject, err)
	}
	return nil
}

// Queued reports whether the job is in the queue, waiting or delivered and
// not acknowledged.
func (c *Conn) Queued(ctx context.Context, lane jobs.Lane, run jobs.RunID, id jobs.AttemptID) (bool, error) {
	subject, err := c.jobSubject(lane, run, id)
	if err != nil {
		return false, err
	}
	_, err = c.last(ctx, c.names.jobsStream(), subject)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// LaneBacklog returns how many jobs of a lane wait for a worker, and how many are
// delivered and not acknowledged (ErrNotFound when the lane has no consumer).
func (c *Conn) LaneBacklog(ctx context.Context, lane jobs.Lane) (waiting, delivered int, err error) {
	var info jetstream.ConsumerInfo
	if err := c.consumerInfo(ctx, c.names.jobsStream(), string(lane), &info); err != nil {
		return 0, 0, fmt.Errorf("read the backlog of lane %s: %w", lane, err)
	}
	return int(info.NumPending), info.NumAckPending, nil
}
