package orchestrator

import (
	"context"
	"errors"
	"time"

	"github.com/modpipe/modpipe/kv"
)

// nameSlack is added to the time to live for which a name that is taken is
// tried again: the server removes an entry a little after its time.
const nameSlack = time.Second

// takeName takes the lease of the name of one that serves. A killed one has
// left an entry that goes after its time to live, so a taken name is tried
// again for so long: kv.ErrHeld says that a live one has it.
func takeName(ctx context.Context, leases *kv.Leases, cfg Config) (*kv.Lease, error) {
	limit := time.Now().Add(leases.TTL() + nameSlack)
	for said := false; ; said = true {
		lease, err := leases.Acquire(ctx, kv.PresenceKey(cfg.Name), cfg.Name)
		if !errors.Is(err, kv.ErrHeld) || time.Now().After(limit) {
			return lease, err
		}
		if !said {
			cfg.Logger.Warn("an orchestrator of this name was there a moment ago: waiting for its entry to expire", "name", cfg.Name, "at_most", leases.TTL()+nameSlack)
		}
		t := time.NewTimer(leases.TTL() / 10)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// keepPresence tells others that this one serves.
func (s *server) keepPresence(ctx context.Context, lease *kv.Lease) error {
	for {
		err := lease.Keep(ctx)
		if err == nil {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasePatience)
			defer cancel()
			_ = lease.Release(last) // else it expires
			return nil
		}
		if err := lease.Renew(ctx); err != nil {
			return err
		}
	}
}
