package broker

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/jobs"
)

// SendQuestion asks whoever decides for a run about an attempt. The answer
// comes on the control subject of the worker, if it comes.
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
// ctx ends (then it returns nil). A question counts only under the name of the
// worker on whose subject it came.
func (c *Conn) Questions(ctx context.Context, run jobs.RunID, f func(*jobs.Question)) error {
	subject := c.names.questions(run)
	arrived := make(chan *nats.Msg, 256) // a full one drops, and questions are repeated
	denied := make(chan error, 1)        // the first is enough
	defer c.denied.watch(func(s string, sub bool) bool { return sub && s == subject }, func(err error) {
		select {
		case denied <- err:
		default:
		}
	})()
	sub, err := c.nc.ChanSubscribe(subject, arrived)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", subject, c.closedMeans(err))
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	for {
		select {
		case m := <-arrived:
			c.question(run, m, f)
		case err := <-denied:
			return fmt.Errorf("listen for questions: %w", err)
		case <-ctx.Done():
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
