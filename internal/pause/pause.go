// Package pause waits for a duration in a way that a context can end.
package pause

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// For waits for d and returns nil. When ctx ends first, it returns the cause
// immediately. A d of zero or less does not wait.
func For(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// NewBackOff returns the pauses between attempts: 10 ms, and at most a second.
func NewBackOff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier = 10*time.Millisecond, time.Second, 2
	return b
}
