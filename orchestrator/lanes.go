package orchestrator

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/schedule"
)

// keepLanes enters the lanes of the run again whenever the watch of their bucket
// restarts. Workers read the lanes from this bucket, and the server may have
// lost it and created it again.
func (l *loop) keepLanes(ctx context.Context) error {
	changes := make(chan kv.LaneChange)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.lanes.Watch(ctx, changes) })
	g.Go(func() error {
		for synced := 0; ; {
			select {
			case <-ctx.Done():
				return nil
			case c := <-changes:
				if !c.Synced {
					continue
				}
				if synced++; synced > 1 {
					l.prepareAgain(ctx)
				}
			}
		}
	})
	return g.Wait()
}

// prepareAgain prepares every lane that this loop has prepared before.
func (l *loop) prepareAgain(ctx context.Context) {
	l.prepared.Range(func(_, a any) bool {
		l.answer(ctx, func() { l.tasks.add(func() { l.prepare(ctx, a.(schedule.Prepare)) }) })
		return true
	})
}
