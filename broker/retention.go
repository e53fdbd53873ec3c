package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

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

// DropRun drops the log of a run and its output in one step each. The record of
// the run's end stays: it reserves the run's id, and tells a worker that
// reconnects late that there is nothing to do. The run must have ended, and must
// have no more writers. DropRun returns ErrNotFound when the run has no end.
func (c *Conn) DropRun(ctx context.Context, run jobs.RunID) error {
	if !jobs.ValidID(string(run)) {
		return fmt.Errorf("%q cannot name a run", run)
	}
	end, err := c.last(ctx, c.names.runsStream(), c.names.run(run, "end"))
	if err != nil {
		return fmt.Errorf("drop run %s: find its end: %w", run, err)
	}
	if err := c.purgeBelow(ctx, c.names.runsStream(), c.names.runAll(run), end.seq); err != nil {
		return fmt.Errorf("drop run %s: %w", run, err)
	}
	if err := c.purge(ctx, c.names.logsStream(), c.names.logs(run, "", 0)); err != nil {
		return fmt.Errorf("drop the output of run %s: %w", run, err)
	}
	return nil
}

// ForgetRun removes the end of a dropped run. Then its id can be reused.
func (c *Conn) ForgetRun(ctx context.Context, run jobs.RunID) error {
	if !jobs.ValidID(string(run)) {
		return fmt.Errorf("%q cannot name a run", run)
	}
	return c.purge(ctx, c.names.runsStream(), c.names.runAll(run))
}

// purgeBelow removes the messages of a subject before a sequence.
func (c *Conn) purgeBelow(ctx context.Context, stream, subject string, seq uint64) error {
	query := fmt.Appendf(nil, `{"filter":%q,"seq":%s}`, subject, strconv.FormatUint(seq, 10))
	if _, err := c.api(ctx, "STREAM.PURGE."+stream, query); err != nil {
		return fmt.Errorf("purge %s before %d: %w", subject, seq, err)
	}
	return nil
}

// Dropped returns a DroppedError for a run whose log was dropped, and nil for
// every other run, whether it exists or not.
func (c *Conn) Dropped(ctx context.Context, run jobs.RunID) error {
	end, err := c.lastEntry(ctx, c.names.run(run, "end"))
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	there, err := c.Exists(ctx, run)
	if there || err != nil || end.Record.End == nil {
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

// EndedRun describes a run that has ended, for the sweep.
type EndedRun struct {
	Run     jobs.RunID
	Ended   time.Time // by the server's clock
	Dropped bool      // only its end is left
}

// EndedRuns lists the runs that have ended, in the order of their ends. It does
// not read the records themselves.
func (c *Conn) EndedRuns(ctx context.Context) ([]EndedRun, error) {
	submitted := map[jobs.RunID]bool{}
	var ended []EndedRun
	src := source{
		stream: c.names.runsStream(), filters: []string{c.names.run("*", "spec"), c.names.run("*", "end")}, headers: true,
		begun: func() error {
			ended = nil
			clear(submitted)
			return nil
		},
	}
	err := c.readAll(ctx, src, func(l located) error {
		run, _, _ := c.names.parseRun(l.msg.Subject)
		if l.msg.Subject == c.names.run(run, "spec") {
			submitted[run] = true
		} else {
			ended = append(ended, EndedRun{Run: run, Ended: l.time})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the runs that have ended: %w", err)
	}
	for i := range ended {
		ended[i].Dropped = !submitted[ended[i].Run]
	}
	slices.SortStableFunc(ended, func(a, b EndedRun) int { return a.Ended.Compare(b.Ended) })
	return ended, nil
}

// Usage is the size of a stream.
type Usage struct {
	Bytes    int64
	MaxBytes int64     // the stream's limit; the default limit when it has none
	Now      time.Time // the server's clock
}

// RunsUsage asks for the size of all logs of runs.
func (c *Conn) RunsUsage(ctx context.Context) (Usage, error) {
	return c.usage(ctx, c.names.runsStream(), runsBytes)
}

func (c *Conn) usage(ctx context.Context, stream string, usual int64) (Usage, error) {
	info, err := c.streamInfo(ctx, stream)
	if err != nil {
		return Usage{}, fmt.Errorf("ask for the size of %s: %w", stream, err)
	}
	return Usage{
		Bytes: int64(info.State.Bytes), MaxBytes: cmp.Or(max(info.Config.MaxBytes, 0), usual), Now: serverTime(info), //nolint:gosec // bytes on a disk
	}, nil
}

// serverTime is the server's clock; the local clock when the server omits it.
func serverTime(info *jetstream.StreamInfo) time.Time {
	if info.TimeStamp.IsZero() {
		return time.Now()
	}
	return info.TimeStamp
}
