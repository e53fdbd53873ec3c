package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/jobs"
)

// SendRunControl sends to all workers that execute modules of the run.
func (c *Conn) SendRunControl(run jobs.RunID, m jobs.Control) error {
	return c.sendControl(c.names.runControl(run), &m)
}

// SendWorkerControl sends to a worker.
func (c *Conn) SendWorkerControl(worker string, m jobs.Control) error {
	if !validToken(worker) {
		return fmt.Errorf("%q cannot name a worker", worker)
	}
	return c.sendControl(c.names.workerControl(worker), &m)
}

func (c *Conn) sendControl(subject string, m *jobs.Control) error {
	body, err := jobs.Marshal(m)
	if err != nil {
		return err
	}
	if err := c.nc.Publish(subject, body); err != nil {
		return fmt.Errorf("send to %s: %w", subject, err)
	}
	return nil
}

// Controls calls f, one call at a time, with every control message for any
// run and for this worker until ctx ends (then it returns nil). Messages for
// the worker come with an empty run.
func (c *Conn) Controls(ctx context.Context, worker string, f func(run jobs.RunID, m jobs.Control)) error {
	subjects := []string{c.names.runControls(), c.names.workerControl(worker)}
	return c.listen(ctx, subjects, func(m *nats.Msg) { c.control(m, f) })
}

// listen calls hear, one call at a time, with every message on the subjects
// until ctx ends (then it returns nil). It waits for a withdrawn permission.
// Messages may be lost; their senders repeat the important ones.
func (c *Conn) listen(ctx context.Context, subjects []string, hear func(*nats.Msg)) error {
	for {
		err := c.listenOnce(ctx, subjects, hear)
		if !errors.Is(err, errWithdrawn) {
			return err
		}
		if pause.For(ctx, askAgain) != nil {
			return nil
		}
	}
}

// listenOnce is listen until a permission is withdrawn, which ends the
// subscription.
func (c *Conn) listenOnce(ctx context.Context, subjects []string, hear func(*nats.Msg)) error {
	arrived := make(chan *nats.Msg, 256) // a full one drops, and senders repeat
	denied := make(chan error, 1)        // the first is enough
	defer c.denied.watch(func(s string, sub bool) bool { return sub && slices.Contains(subjects, s) }, func(err error) {
		select {
		case denied <- err:
		default:
		}
	})()
	for _, s := range subjects {
		sub, err := c.nc.ChanSubscribe(s, arrived)
		if err != nil {
			return fmt.Errorf("listen on %s: %w", s, c.closedMeans(err))
		}
		defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	}
	for {
		select {
		case m := <-arrived:
			hear(m)
		case err := <-denied:
			return fmt.Errorf("listen on %s: %w", strings.Join(subjects, " and "), err)
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *Conn) control(m *nats.Msg, f func(jobs.RunID, jobs.Control)) {
	control, err := jobs.Unmarshal[jobs.Control](m.Data)
	if err != nil {
		c.log.Warn("a control message that cannot be read", "subject", m.Subject, "error", err)
		return
	}
	run, ok := strings.CutPrefix(m.Subject, c.names.runControl(""))
	if !ok {
		run = ""
	}
	f(jobs.RunID(run), control)
}
