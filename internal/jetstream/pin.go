package jetstream

import (
	"context"
	"errors"
	"fmt"
)

// ErrReconnected reports a reconnect since Pin, or that a followed stream was
// recreated. The server may have lost the last part of its streams, so earlier
// positions do not count, and an unanswered write may be stored or not. The
// caller reads again.
var ErrReconnected = errors.New("NATS was reconnected, or its streams were recreated")

// pinKey finds the number of a connection in a context.
type pinKey struct{}

// Pin returns a context for the present connection only: after a reconnect, a
// request under it fails with ErrReconnected and is not sent.
func (c *Conn) Pin(ctx context.Context) context.Context { return c.PinTo(ctx, c.Connection()) }

// PinTo is Pin for the connection of a given number.
func (c *Conn) PinTo(ctx context.Context, number uint64) context.Context {
	return context.WithValue(ctx, pinKey{}, number)
}

// pinned checks that a context is for the present connection.
func (c *Conn) pinned(ctx context.Context) error {
	number, ok := ctx.Value(pinKey{}).(uint64)
	if !ok {
		return nil
	}
	if now := c.Connection(); now != number {
		return fmt.Errorf("%w: %d is over, %d is present", ErrReconnected, number, now)
	}
	return nil
}
