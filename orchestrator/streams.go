package orchestrator

import (
	"context"
	"errors"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/kv"
)

// keepStreams creates what NATS has lost whenever it is reached again: the registry is
// in memory, and workers may not create it.
func keepStreams(ctx context.Context, c *broker.Conn, cfg Config) error {
	for again := c.Reconnected(ctx); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-again:
		}
		if err := errors.Join(c.Ensure(ctx), kv.Create(ctx, c.Conn, cfg.WorkerTTL)); err != nil && ctx.Err() == nil {
			cfg.Logger.Error("what is missing on NATS cannot be created", "url", c.URL(), "error", err)
		}
	}
}
