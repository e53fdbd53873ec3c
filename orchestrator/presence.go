package orchestrator

import (
	"context"
	"errors"
	"time"

	"github.com/modpipe/modpipe/kv"
)

// nameSlack is how much longer than the time to live of a lease takeName waits
// for a name, because the server removes an entry a little after its time.
const nameSlack = time.Second

// takeName acquires the lease of the name of an orchestrator that serves. The
// lease of a killed orchestrator expires after its time to live. So takeName
// tries again for that long. It returns kv.ErrHeld when a live orchestrator has
// the name.
func takeName(ctx context.Context, leases *kv.Leases, cfg Config) (*kv.RunLease, error) {
	limit := time.Now().Add(leases.TTL() + nameSlack)
	for warned := false; ; warned = true {
		lease, err := leases.Acquire(ctx, kv.PresenceKey(cfg.Name), cfg.Name)
		if !errors.Is(err, kv.ErrHeld) || time.Now().After(limit) {
			return lease, err
		}
		if !warned {
			cfg.Logger.Warn("another orchestrator has this name; waiting for its entry to expire", "name", cfg.Name, "at_most", leases.TTL()+nameSlack)
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

// keepPresence renews the lease that announces this orchestrator as serving,
// until ctx ends. Then it releases the lease.
func (s *server) keepPresence(ctx context.Context, lease *kv.RunLease) error {
	for {
		err := lease.Keep(ctx)
		if err == nil {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasePatience)
			defer cancel()
			_ = lease.Release(last) // after an error it expires
			return nil
		}
		if err := lease.Renew(ctx); err != nil {
			return err
		}
	}
}
