package orchestrator

import (
	"context"
	"errors"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// keepAside keeps the lease of a run over which this process panicked, so that
// nobody tries again before the run has ended or this process leaves. The lease
// says why.
func (s *server) keepAside(ctx context.Context, run jobs.RunID, lease *kv.Lease, why error) {
	lease.SetProblem(why.Error())
	tick := time.NewTicker(s.leases.TTL() / 3)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := lease.Renew(ctx); errors.Is(err, kv.ErrHeld) {
			return // somebody else tries
		}
		if ended, err := s.broker.Runs.Ended(ctx, run); err == nil && ended {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasePatience)
	defer cancel()
	_ = lease.Release(last) // else it expires
}
