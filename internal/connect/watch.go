package connect

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/jetstream"
)

// Watch calls down when the connection is lost, up when it is back, and gone when
// it has been lost for limit. It returns when ctx ends.
func Watch(ctx context.Context, c *jetstream.Conn, limit time.Duration, down, up, gone func()) {
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
