package kv

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/internal/jetstream"
)

// Create creates the missing buckets. Orchestrators do so, because workers may not.
// workerTTL is the TTL of the registry if that is missing (0 = 3 s).
func Create(ctx context.Context, c *jetstream.Conn, workerTTL time.Duration) error {
	var g errgroup.Group
	for _, open := range []func() error{
		func() error { _, err := OpenRegistry(ctx, c, workerTTL); return err },
		func() error { _, err := OpenLanes(ctx, c); return err },
		func() error { _, err := OpenLeases(ctx, c); return err },
		func() error { _, err := OpenLocks(ctx, c); return err },
		func() error { _, err := OpenStats(ctx, c); return err },
		func() error { _, err := OpenCache(ctx, c); return err },
	} {
		g.Go(open)
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("create the missing buckets: %w", err)
	}
	return nil
}
