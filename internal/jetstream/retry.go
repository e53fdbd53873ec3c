package jetstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/pause"
)

// retry calls op until it succeeds, fails for good, or ctx ends. Each try
// waits for the connection first.
func retry[T any](ctx context.Context, c *Conn, op func(context.Context) (T, error)) (T, error) {
	var last error
	try := func() (T, error) {
		var zero T
		if err := c.link.await(ctx); err != nil {
			return zero, backoff.Permanent(err)
		}
		v, err := op(ctx)
		if err == nil {
			return v, nil
		}
		if !Transient(err) || ctx.Err() != nil {
			return zero, backoff.Permanent(err)
		}
		last = err
		if errors.Is(err, ErrNotReady) {
			c.Recreate(ctx)
		}
		return zero, err
	}
	v, err := backoff.Retry(ctx, try, backoff.WithBackOff(pause.NewBackOff()), backoff.WithMaxElapsedTime(0))
	if err != nil && ctx.Err() != nil && last != nil && !errors.Is(err, last) {
		err = fmt.Errorf("%w: %w", err, last)
	}
	return v, c.closedMeans(err)
}

// closedMeans turns nats.go's error for a closed connection into ErrUnreachable.
func (c *Conn) closedMeans(err error) error {
	if err == nil || !errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, ErrUnreachable) {
		return err
	}
	return fmt.Errorf("%w at %s: %w", ErrUnreachable, c.URL(), err)
}
