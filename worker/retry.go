package worker

import (
	"context"
	"errors"
	"time"

	"github.com/modpipe/modpipe/broker"
)

const (
	firstPause = 20 * time.Millisecond
	maxPause   = time.Second
)

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// persist calls f until it gives an answer: anything but NATS being away. The
// answers are nil, a refusal, an absence and a denied permission.
func persist(ctx context.Context, f func(context.Context) error) error {
	wait := firstPause
	for {
		err := f(ctx)
		if err == nil || answered(err) {
			return err
		}
		if ctx.Err() != nil || pause(ctx, wait) != nil {
			return err
		}
		wait = min(2*wait, maxPause)
	}
}

func answered(err error) bool {
	return errors.Is(err, broker.ErrConflict) || errors.Is(err, broker.ErrNotFound) || errors.Is(err, broker.ErrDenied)
}
