package kv

import (
	"context"
	"errors"
	"time"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology"
)

// sweepKey is the one entry of its bucket.
const sweepKey = "runs"

// SweepTurn reports whether it is this caller's turn to sweep: no other caller
// has had one since an interval before now, which is the server's time. A caller that
// gets it by compare-and-set is the only one until the next interval, so that
// a sweep that is bounded by it is alone. Entries of mp-sweep are read by
// their time only.
func SweepTurn(ctx context.Context, c *jetstream.Conn, now time.Time, interval time.Duration) (bool, error) {
	b, err := c.OpenBucket(ctx, jetstream.BucketConfig{Name: topology.Bucket("sweep")})
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
