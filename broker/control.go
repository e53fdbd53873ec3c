package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/jobs"
)

// SendRunControl sends to whoever runs something of the run.
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
	for {
		err := c.controls(ctx, worker, f)
		if !errors.Is(err, errWithdrawn) {
			return err
		}
		if !pause(ctx, askAgain) {
			return nil
		}
	}
}

// controls is Controls until a permission is withdrawn: the server has dropped
// what was subscribed.
func (c *Conn) controls(ctx context.Context, worker string, f func(run jobs.RunID, m jobs.Control)) error {
	subjects := []string{c.names.runControls(), c.names.workerControl(worker)}
	arrived := make(chan *nats.Msg, 256) // lossy anyway: a full one drops, and controls are repeated
	denied := make(chan error, 1)        // the first is enough
	defer c.denied.watch(func(s string, sub bool) bool { return sub && (s == subjects[0] || s == subjects[1]) }, func(err error) {
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
			c.control(m, f)
		case err := <-denied:
			return fmt.Errorf("listen for control: %w", err)
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
