package client

import (
	"context"
	"fmt"
	"slices"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// unkeyed returns why the orchestrators that serve leave a run: none of them has the
// signing key of the run. It returns "" when one of them has it, when none serves, and
// when the run has no key so far.
func (c *Client) unkeyed(ctx context.Context, run jobs.RunID, holders map[string]jobs.RunLease) string {
	if !serving(holders) {
		return ""
	}
	first, err := c.conn.Runs.FirstTakeover(ctx, run)
	if err != nil {
		return "" // it has no key yet, or the log cannot be read: then that is its problem
	}
	for key, lease := range holders {
		if kv.IsPresence(key) && (slices.Contains(lease.Keys, first.Key) || first.Key == "" && len(lease.Keys) == 0) {
			return ""
		}
	}
	if first.Key == "" {
		return fmt.Sprintf("begun by %s, a version of modpipe that signs nothing: only such a version can go on with it", first.Orchestrator)
	}
	return fmt.Sprintf("no orchestrator that serves has its signing key, %s: start one with --signing-key and a copy of the key file of %s", first.Key, first.Orchestrator)
}

// Unkeyed returns why the orchestrators that serve leave a run without an orchestrator:
// none of them has its signing key. Otherwise it returns "".
func (c *Client) Unkeyed(ctx context.Context, run jobs.RunID) string {
	holders, err := kv.Holders(ctx, c.conn.Conn)
	if _, held := holders[string(run)]; held || err != nil {
		return ""
	}
	return c.unkeyed(ctx, run, holders)
}
