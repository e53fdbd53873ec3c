package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// DroppedError reports that a run has ended and that its log was dropped.
type DroppedError struct {
	Run   jobs.RunID
	End   jobs.End
	Ended time.Time
}

func (e *DroppedError) Error() string {
	return fmt.Sprintf("run %s has ended (%s) on %s, and its log was dropped since", e.Run, e.End.Status, e.Ended.Local().Format(time.DateTime))
}

// Drop drops the log of a run and its output in one step each. The record of
// the run's end stays: it reserves the run's id, and shows a worker that
// reconnects late that there is nothing to do. The run must have ended, and must
// have no more writers. Drop returns ErrNotFound when the run has no end.
func (r *Runs) Drop(ctx context.Context, run jobs.RunID) error {
	if !jobs.ValidID(string(run)) {
		return fmt.Errorf("%q cannot name a run", run)
	}
	end, err := r.c.Last(ctx, streams.Runs, topology.Run(run, topology.End))
	if err != nil {
		return fmt.Errorf("drop run %s: find its end: %w", run, err)
	}
	if _, err := r.c.PurgeBelow(ctx, streams.Runs, topology.Records(run), end.Seq); err != nil {
		return fmt.Errorf("drop run %s: %w", run, err)
	}
	if err := r.c.Purge(ctx, streams.Logs, topology.Logs(run, "", 0)); err != nil {
		return fmt.Errorf("drop the output of run %s: %w", run, err)
	}
	return nil
}

// DropCommand returns the command that removes a run from NATS, even if its log is
// unreadable.
func (r *Runs) DropCommand(run jobs.RunID) string {
	return fmt.Sprintf("nats stream purge %s --subject='%s'", streams.Runs, topology.Records(run))
}

// Forget removes the end of a dropped run. Then its id can be reused.
func (r *Runs) Forget(ctx context.Context, run jobs.RunID) error {
	if !jobs.ValidID(string(run)) {
		return fmt.Errorf("%q cannot name a run", run)
	}
	return r.c.Purge(ctx, streams.Runs, topology.Records(run))
}

// Dropped returns a DroppedError for a run whose log was dropped, and nil for
// every other run, whether it exists or not.
func (r *Runs) Dropped(ctx context.Context, run jobs.RunID) error {
	end, err := r.LastEnd(ctx, run)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	exists, err := r.Exists(ctx, run)
	if exists || err != nil || end.Record.End == nil {
		return err
	}
	return &DroppedError{Run: run, End: *end.Record.End, Ended: end.Time}
}

// droppedIn is Dropped for a log that was read.
func droppedIn(run jobs.RunID, log []jobs.Entry) error {
	for _, e := range log {
		switch {
		case e.Record.Spec != nil:
			return nil
		case e.Record.End != nil:
			return &DroppedError{Run: run, End: *e.Record.End, Ended: e.Time}
		}
	}
	return nil
}
