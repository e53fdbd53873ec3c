package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// GoneError reports that NATS no longer has the log of a run.
type GoneError struct {
	Run            jobs.RunID
	Stream, Server string
}

func (e *GoneError) Error() string {
	return fmt.Sprintf("run %s cannot end: its log is gone from stream %s on %s (the server lost its store, or the stream or the run was removed); submit the run again",
		e.Run, e.Stream, e.Server)
}

// Gone returns the error for a run whose log was lost.
func (r *Runs) Gone(run jobs.RunID) *GoneError {
	return &GoneError{Run: run, Stream: streams.Runs, Server: r.c.URL()}
}

const (
	goneCheck = 5 * time.Second // between two checks of a log
	goneTwice = 2               // checks in a row that must miss it
)

// WatchGone returns a GoneError within three checks after the log of a run was
// lost. It returns nil when ctx ends, and ErrDenied when the user may not read
// the log.
func (r *Runs) WatchGone(ctx context.Context, run jobs.RunID) error {
	tick := time.NewTicker(goneCheck)
	defer tick.Stop()
	for missed := 0; missed < goneTwice; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		exists, err := r.HasLog(ctx, run)
		switch {
		case err != nil:
			return ignoreEnd(ctx, fmt.Errorf("find the log of run %s: %w", run, err))
		case exists:
			missed = 0
		default:
			missed++
		}
	}
	return r.Gone(run)
}

// HasLog reports whether NATS has the specification or the end of a run. It
// waits for NATS until ctx ends.
func (r *Runs) HasLog(ctx context.Context, run jobs.RunID) (bool, error) {
	if exists, err := r.Exists(ctx, run); exists || err != nil {
		return exists, err
	}
	return r.Ended(ctx, run)
}
