package kv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/jobs"
)

const (
	lanesScan   = time.Minute           // between two readings of all lanes, which find what was missed
	lanesAgain  = 5 * time.Millisecond  // before a lane that was heard of, and cannot be read, is read again
	lanesMissed = 20 * time.Millisecond // before all lanes are read because a write was missed
	lanesAtOnce = 16
)

// JoinLanes opens the lanes for a worker, or returns ErrNotFound.
func JoinLanes(ctx context.Context, c *jetstream.Conn) (*Lanes, error) {
	b, err := c.JoinBucket(ctx, lanesBucket())
	if err != nil {
		return nil, err
	}
	return &Lanes{b}, nil
}

// Follow is Watch with the permissions of a worker, which may create no consumer: it
// listens to writes, reads each lane that was written, and reads all of them once a
// minute, after a reconnect, and when it has missed a write. A Revision is set only when
// every lane up to it has been sent.
func (l *Lanes) Follow(ctx context.Context, out chan<- LaneChange) error {
	heard, err := l.bucket.Hear()
	if err != nil {
		return err
	}
	defer heard.Stop()
	f := &following{l: l, out: out, known: map[jobs.Lane]uint64{}}
	again := l.bucket.Conn().Reconnected(ctx)
	next := time.NewTimer(lanesScan)
	defer next.Stop()
	for err = f.scan(ctx, true); err == nil; {
		select {
		case <-ctx.Done():
			return nil
		case err = <-heard.Denied:
		case <-again:
			next.Reset(lanesScan)
			err = f.scan(ctx, true)
		case <-heard.Missed:
			next.Reset(lanesMissed)
		case <-next.C:
			next.Reset(lanesScan)
			err = f.scan(ctx, false)
		case key := <-heard.Keys:
			var settled bool
			if settled, err = f.heard(ctx, jobs.Lane(key)); !settled {
				next.Reset(lanesMissed)
			}
		}
	}
	return ended(ctx, err)
}

// following is one Follow.
type following struct {
	l     *Lanes
	out   chan<- LaneChange
	known map[jobs.Lane]uint64 // revisions that were sent
	seen  uint64               // every lane up to this revision was sent
}

// scan sends all lanes that are not known. began = the bucket may be another one.
func (f *following) scan(ctx context.Context, began bool) error {
	keys, revision, err := f.l.bucket.Keys(ctx)
	if err != nil {
		return err
	}
	if began || revision < f.seen {
		f.known = map[jobs.Lane]uint64{}
		if err := send(ctx, f.out, LaneChange{Began: true}); err != nil {
			return err
		}
	}
	entries := make([]jetstream.BucketEntry, len(keys))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(lanesAtOnce)
	for i, key := range keys {
		g.Go(func() (err error) {
			entries[i], err = f.l.bucket.Last(gctx, key)
			if errors.Is(err, jetstream.ErrNotFound) {
				err = nil
				entries[i].Gone = true
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("read the lanes: %w", err)
	}
	there := map[jobs.Lane]bool{}
	for _, e := range entries {
		there[jobs.Lane(e.Key)] = !e.Gone
		if err := f.change(ctx, e, 0); err != nil {
			return err
		}
	}
	for lane := range f.known {
		if !there[lane] {
			delete(f.known, lane)
			if err := send(ctx, f.out, LaneChange{Lane: lane, Gone: true}); err != nil {
				return err
			}
		}
	}
	f.seen = revision
	return send(ctx, f.out, LaneChange{Synced: true, Revision: revision})
}

// heard reads a lane that was written. It reports false when all lanes have to be
// read: another write was missed, or this one cannot be read yet.
func (f *following) heard(ctx context.Context, lane jobs.Lane) (settled bool, err error) {
	for try := 1; ; try++ {
		e, err := f.l.bucket.Last(ctx, string(lane))
		switch {
		case err != nil && !errors.Is(err, jetstream.ErrNotFound):
			return false, err
		case e.Revision == f.seen+1:
			f.seen = e.Revision
			return true, f.change(ctx, e, e.Revision)
		case e.Revision > f.seen:
			return false, f.change(ctx, e, 0)
		case try == 2:
			return false, nil
		}
		if pause.For(ctx, lanesAgain) != nil {
			return true, nil //nolint:nilerr // ctx has ended
		}
	}
}

// change sends an entry, unless it is known.
func (f *following) change(ctx context.Context, e jetstream.BucketEntry, revision uint64) error {
	lane := jobs.Lane(e.Key)
	if f.known[lane] == e.Revision && e.Revision > 0 {
		return nil
	}
	c := LaneChange{Lane: lane, Gone: e.Gone, Revision: revision}
	if !e.Gone {
		set, err := decode[jobs.LaneSet](e)
		if err != nil {
			c.Gone = true // of a newer version: not for this worker
		}
		c.Set = set
		f.known[lane] = e.Revision
	}
	return send(ctx, f.out, c)
}
