package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/pause"
)

// askAgain is the pause between attempts to use a withdrawn permission.
const askAgain = time.Second

// Subscribe calls f with every message on a subject, on a goroutine of the
// subscription. Messages may be lost. It does not wait for a withdrawn permission.
func (c *Conn) Subscribe(subject string, f func(*nats.Msg)) (*nats.Subscription, error) {
	return c.nc.Subscribe(subject, f)
}

// SubscribeInbox is Subscribe on a new inbox.
func (c *Conn) SubscribeInbox(f func(*nats.Msg)) (*nats.Subscription, error) {
	return c.nc.Subscribe(c.nc.NewInbox(), f)
}

// PublishRequest sends a message whose answers arrive on an inbox.
func (c *Conn) PublishRequest(subject, inbox string, body []byte) error {
	return c.nc.PublishRequest(subject, inbox, body)
}

// Listen calls f, one call at a time, with every message on the subjects
// until ctx ends (then it returns nil). It waits for a withdrawn permission.
// Messages may be lost; their senders repeat the important ones.
func (c *Conn) Listen(ctx context.Context, subjects []string, f func(*nats.Msg)) error {
	for {
		err := c.listenOnce(ctx, subjects, f)
		if !errors.Is(err, ErrWithdrawn) {
			return err
		}
		if pause.For(ctx, askAgain) != nil {
			return nil //nolint:nilerr // ctx has ended
		}
	}
}

// listenOnce is Listen until a permission is withdrawn, which ends the
// subscription.
func (c *Conn) listenOnce(ctx context.Context, subjects []string, f func(*nats.Msg)) error {
	arrived := make(chan *nats.Msg, 256) // a full one drops, and senders repeat
	denied := make(chan error, 1)        // the first is enough
	defer c.WatchDenials(func(s string, sub bool) bool { return sub && slices.Contains(subjects, s) }, func(err error) {
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
			f(m)
		case err := <-denied:
			return fmt.Errorf("listen on %s: %w", strings.Join(subjects, " and "), err)
		case <-ctx.Done():
			return nil
		}
	}
}
