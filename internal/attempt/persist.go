package attempt

import (
	"context"
	"errors"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// The pause between two tries doubles from FirstPause up to MaxPause.
const (
	FirstPause = 20 * time.Millisecond
	MaxPause   = time.Second
)

// Persist calls f until it returns an answer: a result of any kind but an
// unreachable NATS. The answers are nil, a refusal, an absence, a new connection, a
// denied permission, and data that is too large.
func Persist(ctx context.Context, c Clock, f func(context.Context) error) error {
	wait := FirstPause
	for {
		err := f(ctx)
		if err == nil || answered(err) {
			return err
		}
		if ctx.Err() != nil || c.Pause(ctx, wait) != nil {
			return err
		}
		wait = min(2*wait, MaxPause)
	}
}

func answered(err error) bool {
	return errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrReconnected) || errors.Is(err, ErrDenied) || errors.Is(err, jobs.ErrTooLarge)
}
