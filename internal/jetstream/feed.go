package jetstream

import (
	"context"
	"errors"

	"github.com/modpipe/modpipe/internal/pause"
)

// errEnough ends a feed whose reader needs no more.
var errEnough = errors.New("enough")

// Feed reads a source with its own push consumer and passes every message to f,
// in order, once. After an error on the same connection it creates another
// consumer, which begins after the last sequence. On a new connection, and when
// the stream was recreated, it begins from the start, because the server may
// have lost messages and reuse their sequences. It returns nil when ctx ends,
// f's error, or a permanent error.
func (c *Conn) Feed(ctx context.Context, src Source, f func(Message) error) error {
	backoff := pause.NewBackOff()
	var at position
	for {
		last := src.After
		err := c.feedFrom(ctx, &src, &at, f)
		if errors.Is(err, errAhead) {
			continue
		}
		src.live = false
		if again := errors.Is(err, errRestart) || Transient(err); !again || ctx.Err() != nil {
			return ignoreEnd(ctx, c.closedMeans(err))
		}
		if src.After > last || errors.Is(err, errLost) {
			backoff.Reset()
		}
		if err := c.link.await(ctx); err != nil {
			return ignoreEnd(ctx, err)
		}
		if pause.For(ctx, backoff.NextBackOff()) != nil {
			return nil //nolint:nilerr // ctx has ended
		}
	}
}

// feedFrom is feedOnce on the source's connection.
func (c *Conn) feedFrom(ctx context.Context, src *Source, at *position, f func(Message) error) error {
	if !src.Bulk {
		return c.feedOnce(ctx, src, at, nil, f)
	}
	if err := c.pinned(ctx); err != nil {
		return err
	}
	d := c.carrier(ctx)
	if d != c {
		ctx = unpinned(ctx)
	}
	if c.data == nil { // no link is between
		return d.feedOnce(ctx, src, at, nil, f)
	}
	return d.feedOnce(ctx, src, at, d.intake, f)
}

// errRestart marks an error that another consumer is likely to solve.
var errRestart = errors.New("the consumer is gone or has lost messages")

// ignoreEnd returns nil when ctx has ended, else err.
func ignoreEnd(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}

// ReadAll hands on the present messages of a Source, and returns. After an error
// it begins from the start, and calls begun first.
func (c *Conn) ReadAll(ctx context.Context, src Source, f func(Message) error) error {
	src.whole = !src.Continues
	src.CaughtUp = func() error { return errEnough }
	if err := c.Feed(ctx, src, f); !errors.Is(err, errEnough) {
		if err == nil {
			err = context.Cause(ctx)
		}
		return err
	}
	return nil
}
