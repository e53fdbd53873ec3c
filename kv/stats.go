package kv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// statsTTL is the time for which the durations of an unused pipeline are stored.
const statsTTL = 180 * 24 * time.Hour

// Stats holds how long modules took (mp-stats), one entry for each pipeline.
type Stats struct{ bucket *jetstream.Bucket }

// OpenStats opens or creates it.
func OpenStats(ctx context.Context, c *jetstream.Conn) (*Stats, error) {
	b, err := c.OpenBucket(ctx, jetstream.BucketConfig{Name: streams.Bucket("stats"), TTL: statsTTL})
	if err != nil {
		return nil, err
	}
	return &Stats{b}, nil
}

// Durations reads the durations of a pipeline. Without a bucket the result is empty.
// It does not create the bucket.
func Durations(ctx context.Context, c *jetstream.Conn, pipeline string) (jobs.Durations, error) {
	b, err := c.FindBucket(ctx, streams.Bucket("stats"))
	if errors.Is(err, jetstream.ErrNotFound) {
		return jobs.Durations{}, nil
	}
	if err != nil {
		return jobs.Durations{}, err
	}
	return (&Stats{b}).Durations(ctx, pipeline)
}

// Durations reads the durations of a pipeline's earlier runs. Without earlier runs the
// result is empty.
func (s *Stats) Durations(ctx context.Context, pipeline string) (jobs.Durations, error) {
	d, _, err := s.read(ctx, pipeline)
	return d, err
}

func (s *Stats) read(ctx context.Context, pipeline string) (jobs.Durations, uint64, error) {
	e, err := s.bucket.Last(ctx, statsKey(pipeline))
	if errors.Is(err, jetstream.ErrNotFound) {
		return jobs.Durations{}, e.Revision, nil
	}
	if err != nil {
		return jobs.Durations{}, 0, fmt.Errorf("read the durations of %s: %w", pipeline, err)
	}
	d, err := decode[jobs.Durations](e)
	return d, e.Revision, err
}

// Add adds the durations of one run. Runs that end at the same time do not
// overwrite each other's durations.
func (s *Stats) Add(ctx context.Context, pipeline string, took map[string]time.Duration) error {
	for {
		d, revision, err := s.read(ctx, pipeline)
		if err != nil {
			return err
		}
		d.Add(took)
		err = s.update(ctx, pipeline, d, revision)
		if !errors.Is(err, jetstream.ErrConflict) {
			return err
		}
	}
}

// update writes as many durations as the server takes in one message: those of the
// modules that take longest, which matter most.
func (s *Stats) update(ctx context.Context, pipeline string, d jobs.Durations, revision uint64) error {
	for {
		value, err := jobs.Marshal(&d)
		if err == nil {
			_, err = s.bucket.Update(ctx, statsKey(pipeline), value, revision)
		}
		if !errors.Is(err, jetstream.ErrTooLarge) || len(d.Took) == 0 {
			return err
		}
		d.Halve()
	}
}

// statsKey is the key of a pipeline: a hash, because its name is free text.
func statsKey(pipeline string) string {
	sum := sha256.Sum256([]byte(pipeline))
	return hex.EncodeToString(sum[:16])
}
