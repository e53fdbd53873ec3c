package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

const (
	lanesTTL   = 30 * 24 * time.Hour // of a lane that no run needs
	lanesRenew = 24 * time.Hour
)

// Lanes is the bucket of lanes (mp-lanes).
type Lanes struct{ bucket *jetstream.Bucket }

// OpenLanes opens or creates it.
func OpenLanes(ctx context.Context, c *jetstream.Conn) (*Lanes, error) {
	b, err := c.OpenBucket(ctx, lanesBucket())
	if err != nil {
		return nil, err
	}
	return &Lanes{b}, nil
}

func lanesBucket() jetstream.BucketConfig {
	return jetstream.BucketConfig{Name: streams.Bucket("lanes"), TTL: lanesTTL, MarkerTTL: time.Hour}
}

// Put writes a lane, unless the same entry is at most a day old, and returns its
// revision.
func (l *Lanes) Put(ctx context.Context, lane jobs.Lane, set jobs.LaneSet) (uint64, error) {
	value, err := jobs.Marshal(&set)
	if err != nil {
		return 0, err
	}
	last, err := l.bucket.Last(ctx, string(lane))
	switch {
	case err == nil && bytes.Equal(last.Value, value) && time.Since(last.Time) < lanesRenew:
		return last.Revision, nil
	case err != nil && !errors.Is(err, jetstream.ErrNotFound):
		return 0, fmt.Errorf("write lane %s: %w", lane, err)
	}
	revision, err := l.bucket.Put(ctx, string(lane), value)
	if err != nil {
		return 0, fmt.Errorf("write lane %s: %w", lane, err)
	}
	return revision, nil
}

// LaneChange is a lane that was written, with its revision in the bucket;
// Began and Synced as in Change.
type LaneChange struct {
	Lane     jobs.Lane
	Set      jobs.LaneSet
	Gone     bool
	Revision uint64
	Began    bool
	Synced   bool
}

// Watch sends lanes until ctx ends (then it returns nil). It restarts after
// reconnects, and leaves out unreadable lanes.
func (l *Lanes) Watch(ctx context.Context, out chan<- LaneChange) error {
	return ended(ctx, l.bucket.Watch(ctx, func(e jetstream.BucketEntry) error {
		switch {
		case e.Begun:
			return send(ctx, out, LaneChange{Began: true})
		case e.Synced:
			return send(ctx, out, LaneChange{Synced: true})
		case e.Gone:
			return send(ctx, out, LaneChange{Lane: jobs.Lane(e.Key), Gone: true, Revision: e.Revision})
		}
		set, err := decode[jobs.LaneSet](e)
		if err != nil {
			return nil //nolint:nilerr // of a newer version: not for this worker
		}
		return send(ctx, out, LaneChange{Lane: jobs.Lane(e.Key), Set: set, Revision: e.Revision})
	}))
}
