package orchestrator

import (
	"context"
	"errors"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// keepAside keeps the lease of a run that caused a panic in this process. No
// orchestrator tries the run again before the run has ended or this process has
// stopped. The lease holds the reason.
func (s *server) keepAside(ctx context.Context, run jobs.RunID, lease *kv.RunLease, why error) {
	lease.SetProblem(why.Error())
	tick := time.NewTicker(s.leases.TTL() / 3)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := lease.Renew(ctx); errors.Is(err, kv.ErrHeld) {
			return // another orchestrator tries it
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
	_ = lease.Release(last) // after an error it expires
}
