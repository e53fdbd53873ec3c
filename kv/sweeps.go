package kv

import (
	"context"
	"errors"
	"time"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology/streams"
)

// sweepKey is the entry of the last sweep in its bucket.
const sweepKey = "runs"

// SweepTurn reports whether it is this caller's turn to sweep: no other caller
// has had a turn for an interval before now, which is the server's time. It takes the
// turn by compare-and-set. So a sweep that takes no longer than the interval is the
// only one. Only the time of the entry counts.
func SweepTurn(ctx context.Context, c *jetstream.Conn, now time.Time, interval time.Duration) (bool, error) {
	b, err := c.OpenBucket(ctx, jetstream.BucketConfig{Name: streams.Bucket("sweep")})
	if err != nil {
		return false, err
	}
	last, err := b.Last(ctx, sweepKey)
	switch {
	case err == nil && now.Sub(last.Time) < interval && !last.Time.After(now.Add(interval)): // else a clock was set back
		return false, nil
	case err != nil && !errors.Is(err, jetstream.ErrNotFound):
		return false, err
	}
	_, err = b.Update(ctx, sweepKey, nil, last.Revision)
	if errors.Is(err, jetstream.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}
