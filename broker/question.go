package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/jobs"
)

// SendQuestion asks the run's orchestrator about an attempt. The answer, if any,
// arrives on the control subject of the worker.
func (c *Conn) SendQuestion(run jobs.RunID, q *jobs.Question) error {
	if !validToken(string(run)) || !validToken(q.Worker) {
		return fmt.Errorf("run %q, worker %q: they must be tokens of a subject", run, q.Worker)
	}
	body, err := jobs.Marshal(q)
	if err != nil {
		return err
	}
	subject := c.names.question(run, q.Worker)
	if err := c.nc.Publish(subject, body); err != nil {
		return fmt.Errorf("ask on %s: %w", subject, err)
	}
	return nil
}

// Questions calls f, one call at a time, with every question about a run until
// ctx ends (then it returns nil). It drops a question that does not name the
// worker of its subject. Few runs have questions, so a missing
// permission to receive them is reported, and does not end the run.
func (c *Conn) Questions(ctx context.Context, run jobs.RunID, f func(*jobs.Question)) error {
	subject := c.names.questions(run)
	for {
		err := c.listen(ctx, []string{subject}, func(m *nats.Msg) { c.question(run, m, f) })
		if !errors.Is(err, ErrDenied) {
			return err
		}
		c.log.Warn("the NATS user may not receive the questions of workers: a worker that cannot tell whether an attempt is its own waits without an answer", "run", run, "subscription", subject)
		if pause.For(ctx, deniedPatience) != nil {
			return nil
		}
	}
}

func (c *Conn) question(run jobs.RunID, m *nats.Msg, f func(*jobs.Question)) {
	q, err := jobs.Unmarshal[jobs.Question](m.Data)
	if err != nil {
		c.log.Debug("a question that cannot be read", "subject", m.Subject, "error", err)
		return
	}
	if validToken(q.Worker) && m.Subject == c.names.question(run, q.Worker) {
		f(&q)
	}
}
