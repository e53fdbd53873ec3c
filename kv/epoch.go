package kv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology/streams"
)

// epochKey is the entry of the epoch in the bucket of sweeps.
const epochKey = "epoch"

// firstHour is when epochs begin to count hours: 20 bits of a fencing token last
// until the year 2140.
var firstHour = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// Epoch is the epoch of fencing tokens: one number for all runs, while sequences in
// the log only grow.
type Epoch struct {
	Number uint64
	// Since is when the server may last have lost the end of its streams: when it
	// created the registry, or the stream of runs, by its clock.
	Since time.Time
}

// Fencing returns the epoch of fencing tokens. When the registry or the stream
// of runs was recreated since the present epoch, it takes the next one. Its number
// is above that of the entry and above known, which the caller had before, because
// the server may have lost the entry, too; and at least the hours since 2020.
func Fencing(ctx context.Context, c *jetstream.Conn, r *Registry, known Epoch) (Epoch, error) {
	since, err := r.Created(ctx)
	if err != nil {
		return Epoch{}, err
	}
	runs, err := c.StreamInfo(ctx, streams.Runs)
	if err != nil {
		return Epoch{}, fmt.Errorf("read when the stream of runs was created: %w", err)
	}
	if runs.Created.After(since) {
		since = runs.Created
	}
	b, err := c.OpenBucket(ctx, jetstream.BucketConfig{Name: streams.Bucket("sweep")})
	if err != nil {
		return Epoch{}, err
	}
	for {
		e, err := fencing(ctx, b, since, known)
		if !errors.Is(err, jetstream.ErrConflict) { // else another process has taken it
			return e, err
		}
	}
}

func fencing(ctx context.Context, b *jetstream.Bucket, since time.Time, known Epoch) (Epoch, error) {
	last, err := b.Last(ctx, epochKey)
	if err != nil && !errors.Is(err, jetstream.ErrNotFound) {
		return Epoch{}, fmt.Errorf("read the epoch of fencing tokens: %w", err)
	}
	var number uint64
	var nanos int64
	if _, err := fmt.Sscanf(string(last.Value), "%d %d", &number, &nanos); err == nil && nanos == since.UnixNano() && (number > known.Number || since.Equal(known.Since)) {
		return Epoch{number, since}, nil
	}
	next := Epoch{max(number+1, known.Number+1, uint64(max(0, since.Sub(firstHour)/time.Hour))), since} //nolint:gosec // not negative
	if _, err := b.Update(ctx, epochKey, fmt.Appendf(nil, "%d %d", next.Number, since.UnixNano()), last.Revision); err != nil {
		return Epoch{}, fmt.Errorf("take the next epoch of fencing tokens: %w", err)
	}
	return next, nil
}
