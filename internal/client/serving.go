package client

import (
	"context"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// Serving reports whether an orchestrator serves this NATS.
func (c *Client) Serving(ctx context.Context) (bool, error) {
	holders, err := kv.Holders(ctx, c.conn.Conn)
	return serving(holders), err
}

// Decided reports whether an orchestrator decides for a run. It is also true
// when an orchestrator serves this NATS, because that one will take the run.
func (c *Client) Decided(ctx context.Context, run jobs.RunID) (bool, error) {
	holders, err := kv.Holders(ctx, c.conn.Conn)
	if _, held := holders[string(run)]; held || err != nil {
		return held, err
	}
	return serving(holders), nil
}

func serving(holders map[string]jobs.RunLease) bool {
	for key := range holders {
		if kv.IsPresence(key) {
			return true
		}
	}
	return false
}
