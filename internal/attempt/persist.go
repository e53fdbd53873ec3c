package attempt

import (
	"context"
	"errors"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// How long it waits between tries: twice as long each time.
const (
	FirstPause = 20 * time.Millisecond
	MaxPause   = time.Second
)

// Persist calls f until it gives an answer: anything but NATS being away. The
// answers are nil, a refusal, an absence, another connection, a denied
// permission, and that there is too much of it.
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
