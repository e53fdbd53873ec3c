package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// ErrPanicked says that modpipe panicked over a run. Every other run goes on;
// this one is set aside.
var ErrPanicked = errors.New("handling the run panicked, which is a fault of modpipe")

// contained calls f, and makes an error of a panic in it, whose stack it logs.
func contained(log *slog.Logger, run jobs.RunID, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			log.Error("handling a run panicked", "run", run, "panic", v, "stack", string(debug.Stack()))
			err = panicked(run, v)
		}
	}()
	return f()
}

func panicked(run jobs.RunID, v any) error {
	return fmt.Errorf("run %s: %w: %v", run, ErrPanicked, v)
}

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
