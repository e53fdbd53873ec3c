package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// Queue holds the jobs that wait or run, on their lanes.
type Queue struct {
	c *jetstream.Conn
	bodies
}

// Publish publishes a job on its lane, expecting an empty subject. It sends
// immediately, in the order of the calls, and calls done once from another
// goroutine. It does not retry: an unanswered job may be stored. ErrConflict: the
// job is already queued. ErrFull: the job is not stored, and the caller retries
// later. Publish blocks while too many publishes are unanswered, and while it
// stores a long job in the object store.
func (q *Queue) Publish(ctx context.Context, job *jobs.Job, done func(error)) {
	m, err := q.jobMsg(ctx, job)
	if err != nil {
		q.c.Later(func() { done(err) })
		return
	}
	q.c.StoreAsync(ctx, streams.Jobs, m, func(_ uint64, err error) {
		if errors.Is(err, jetstream.ErrRacing) {
			err = fmt.Errorf("%w: %w", ErrConflict, err)
		}
		if err != nil {
			err = fmt.Errorf("publish %s: %w", m.Subject, err)
		}
		done(err)
	})
}

func (q *Queue) jobMsg(ctx context.Context, job *jobs.Job) (*nats.Msg, error) {
	subject, err := jobSubject(job.Lane, job.Run, jobs.AttemptID{Module: job.Module, Attempt: job.Attempt})
	if err != nil {
		return nil, err
	}
	body, err := jobs.Marshal(job)
	if err != nil {
		return nil, err
	}
	m, err := q.pack(ctx, subject, body, jetstream.FailWhenFull)
	if err != nil {
		return nil, err
	}
	jetstream.ExpectLast(m, 0)
	jetstream.SetHeader(m, topology.RankHeader, job.Rank.String())
	return m, nil
}

func jobSubject(lane jobs.Lane, run jobs.RunID, id jobs.AttemptID) (string, error) {
	if !topology.ValidToken(string(lane)) || !topology.ValidToken(string(run)) || !topology.ValidToken(string(id.Module)) {
		return "", fmt.Errorf("lane %q, run %q, module %q: they must be tokens of a subject", lane, run, id.Module)
	}
	return topology.Job(lane, run, id), nil
}

// Purge removes one job by its exact subject.
func (q *Queue) Purge(ctx context.Context, lane jobs.Lane, run jobs.RunID, id jobs.AttemptID) error {
	subject, err := jobSubject(lane, run, id)
	if err != nil {
		return err
	}
	return q.c.Purge(ctx, streams.Jobs, subject)
}

// PurgeRun removes all jobs of a run, which must have ended: a run waits for ever
// for a job that was purged while its attempt was open.
func (q *Queue) PurgeRun(ctx context.Context, run jobs.RunID) error {
	if !topology.ValidToken(string(run)) {
		return fmt.Errorf("%q cannot name a run", run)
	}
	return q.c.Purge(ctx, streams.Jobs, topology.JobsOfRun(run))
}

// Has reports whether the job is in the queue, waiting or delivered and
// not acknowledged.
func (q *Queue) Has(ctx context.Context, lane jobs.Lane, run jobs.RunID, id jobs.AttemptID) (bool, error) {
	subject, err := jobSubject(lane, run, id)
	if err != nil {
		return false, err
	}
	return has(ctx, q.c, streams.Jobs, subject)
}

// Body returns the body of a job's message. The errors jobs.ErrMalformed,
// jobs.ErrNewer, ErrTooLarge and ErrNotFound are permanent.
func (q *Queue) Body(ctx context.Context, m *nats.Msg) ([]byte, error) {
	return q.unpack(ctx, m, jobs.MaxMessage)
}

// ByReference reports whether Body needs the object store.
func (q *Queue) ByReference(m *nats.Msg) bool { return byReference(m) }

// Backlog returns how many jobs of a lane wait for a worker, and how many are
// delivered and not acknowledged (ErrNotFound when the lane has no consumer).
func (q *Queue) Backlog(ctx context.Context, lane jobs.Lane) (waiting, delivered int, err error) {
	info, err := q.c.ConsumerInfo(ctx, streams.Jobs, string(lane))
	if err != nil {
		return 0, 0, fmt.Errorf("read the backlog of lane %s: %w", lane, err)
	}
	return int(info.NumPending), info.NumAckPending, nil
}

// Oldest returns when the oldest job was published; zero when the queue is empty.
func (q *Queue) Oldest(ctx context.Context) (time.Time, error) {
	info, err := q.c.StreamInfo(ctx, streams.Jobs)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask for the oldest job: %w", err)
	}
	if info.State.Msgs == 0 {
		return time.Time{}, nil
	}
	return info.State.FirstTime, nil
}

// EnsureLane creates the lane's durable consumer unless it exists.
func (q *Queue) EnsureLane(ctx context.Context, lane jobs.Lane) error {
	if !topology.ValidToken(string(lane)) {
		return fmt.Errorf("%q cannot name a lane", lane)
	}
	if err := q.c.EnsureConsumer(ctx, streams.Jobs, streams.LaneConsumer(string(lane), topology.JobsOfLane(lane))); err != nil {
		return fmt.Errorf("create lane %s: %w", lane, err)
	}
	return nil
}
