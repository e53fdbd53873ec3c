package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// drainPatience is how long a worker may take to report that it drains.
const drainPatience = 15 * time.Second

// ErrNoKey reports that a request needs a signing key, and that this program has none.
var ErrNoKey = errors.New("workers obey only what is signed with the signing key of the orchestrators, and there is none here")

// ErrNoAnswer reports that a worker did not answer a request in time.
var ErrNoAnswer = errors.New("the worker has not answered")

// Workers lists the live workers, by name.
func (c *Client) Workers(ctx context.Context) ([]jobs.WorkerInfo, error) {
	return kv.Workers(ctx, c.conn.Conn)
}

// Drain asks a worker to take no more attempts, to finish those that it
// executes, and to leave. It returns when the worker reports that it drains, or
// when the worker is gone. It returns broker.ErrNotFound when no live worker has
// this name, ErrNoKey without a signing key, and ErrNoAnswer after 15 s.
func (c *Client) Drain(ctx context.Context, name, by string) error {
	workers, err := c.Workers(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(workers, func(w jobs.WorkerInfo) bool { return w.Name == name })
	if i < 0 {
		return fmt.Errorf("worker %s: %w", name, broker.ErrNotFound)
	}
	w := &workers[i]
	if c.conn.Keys() == nil {
		return ErrNoKey
	}
	registry, err := kv.OpenRegistry(ctx, c.conn.Conn, 0) // it exists: a worker is in it
	if err != nil {
		return err
	}
	send := func() error {
		if c.conn.Control.Greets(w) {
			if err := c.conn.Control.Greet(w); err != nil {
				return err
			}
		}
		return c.conn.Control.Order(w, jobs.Control{Drain: &jobs.Drain{By: by}})
	}
	ctx, stop := context.WithTimeoutCause(ctx, drainPatience, fmt.Errorf("worker %s: %w within %v", name, ErrNoAnswer, drainPatience))
	defer stop()
	return untilDraining(ctx, registry, name, send)
}

// untilDraining sends the request every second until the worker drains or is
// gone. It repeats the request because control messages may be lost.
func untilDraining(ctx context.Context, registry *kv.Registry, name string, send func() error) error {
	changes := make(chan kv.Change)
	watching, end := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error { return registry.Watch(watching, changes) })
	defer func() { end(); _ = g.Wait() }()
	resend := time.NewTicker(time.Second)
	defer resend.Stop()
	if err := send(); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-resend.C:
			if err := send(); err != nil {
				return err
			}
		case c := <-changes:
			if c.Worker.Name == name && (c.Gone || c.Worker.Draining) {
				return nil
			}
		}
	}
}
