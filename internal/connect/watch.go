package connect

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/broker"
)

// Watch calls down and up as the connection goes and comes, and
// gone once it has been down for limit. It returns when ctx ends.
func Watch(ctx context.Context, c *broker.Conn, limit time.Duration, down, up, gone func()) {
	changes := c.StatusChanged(ctx, nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED)
	var over <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-over:
			gone()
			return
		case status := <-changes:
			switch {
			case status == nats.CONNECTED && over != nil:
				over = nil
				up()
			case status != nats.CONNECTED && over == nil:
				over = time.After(limit)
				down()
			}
		}
	}
}
