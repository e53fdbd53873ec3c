package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/jobs"
)

// Control sends and receives messages that are not stored.
type Control struct {
	c    *jetstream.Conn
	keys *signing.Keyring // of this program; nil = none
}

// SendWorker sends to a worker. The key is that of the attempt which the message
// concerns, or that of the worker; nil = it is not signed.
func (k *Control) SendWorker(worker string, key signing.Key, m jobs.Control) error {
	if !jobs.ValidWorker(worker) {
		return fmt.Errorf("%q cannot name a worker", worker)
	}
	return send(k.c, topology.WorkerControl(worker), key, &m)
}

// Ask asks the run's orchestrator about an attempt. The answer, if any, arrives on
// the control subject of the worker.
func (k *Control) Ask(run jobs.RunID, q *jobs.Question) error {
	if !topology.ValidToken(string(run)) || !jobs.ValidWorker(q.Worker) {
		return fmt.Errorf("run %q, worker %q: they must name a run and a worker", run, q.Worker)
	}
	return send(k.c, topology.Question(run, q.Worker), nil, q)
}

// Received is a control message as it arrived.
type Received struct {
	jobs.Control
	msg *nats.Msg
}

// Signed reports whether the sender has signed the message with a key.
func (r *Received) Signed(key []byte) bool { return verifies(r.msg, key) }

func send[M jobs.Message](c *jetstream.Conn, subject string, key signing.Key, m *M) error {
	body, err := jobs.Marshal(m)
	if err != nil {
		return err
	}
	msg := &nats.Msg{Subject: subject, Data: body}
	sign(msg, key)
	if err := c.Publish(msg); err != nil {
		return fmt.Errorf("send to %s: %w", subject, err)
	}
	return nil
}

// Receive calls f, one call at a time, with every control message for this worker
// until ctx ends (then it returns nil). Any program may have sent it: the receiver asks
// by which key it is signed.
func (k *Control) Receive(ctx context.Context, worker string, f func(*Received)) error {
	return k.c.Listen(ctx, []string{topology.WorkerControl(worker)}, func(m *nats.Msg) {
		control, err := jobs.Unmarshal[jobs.Control](m.Data)
		if err != nil {
			k.c.Logger().Warn("dropped an unreadable control message", "subject", m.Subject, "error", err)
			return
		}
		f(&Received{Control: control, msg: m})
	})
}

// questionsRetry is the time between two attempts to receive questions, after a
// denial.
const questionsRetry = 30 * time.Second

// Questions calls f, one call at a time, with every question about a run until
// ctx ends (then it returns nil). It drops a question that does not name the
// worker of its subject. Few runs have questions, so a missing
// permission to receive them is reported, and does not end the run.
//
// signed reports whether the sender had a key.
func (k *Control) Questions(ctx context.Context, run jobs.RunID, f func(q *jobs.Question, signed func(signing.Key) bool)) error {
	subject := topology.Questions(run)
	for {
		err := k.c.Listen(ctx, []string{subject}, func(m *nats.Msg) { k.question(run, m, f) })
		if !errors.Is(err, ErrDenied) {
			return err
		}
		k.c.Logger().Warn("the NATS user may not receive the questions of workers: a worker that cannot tell whether an attempt is its own waits without an answer", "run", run, "subscription", subject)
		if pause.For(ctx, questionsRetry) != nil {
			return nil //nolint:nilerr // ctx has ended
		}
	}
}

func (k *Control) question(run jobs.RunID, m *nats.Msg, f func(*jobs.Question, func(signing.Key) bool)) {
	q, err := jobs.Unmarshal[jobs.Question](m.Data)
	if err != nil {
		k.c.Logger().Debug("dropped an unreadable question", "subject", m.Subject, "error", err)
		return
	}
	if jobs.ValidWorker(q.Worker) && m.Subject == topology.Question(run, q.Worker) {
		f(&q, func(key signing.Key) bool { return verifies(m, key) })
	}
}
