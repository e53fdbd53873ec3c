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

// DroppedError says that a run has ended and that its log has been dropped.
type DroppedError struct {
	Run   jobs.RunID
	End   jobs.End
	Ended time.Time
}

func (e *DroppedError) Error() string {
	return fmt.Sprintf("run %s has ended (%s) on %s, and its log was dropped since", e.Run, e.End.Status, e.Ended.Local().Format(time.DateTime))
}

// DropRun drops the log of a run and its output. The record of its end stays:
// it keeps the run's id from being used again, and tells a worker that comes
// back late that there is nothing to do. The server removes all the rest in
// one step. Only for a run that has ended, and that nobody can still write to;
// ErrNotFound when it has no end.
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

// ForgetRun removes the last trace of a run that was dropped: its id may be
// used again.
func (c *Conn) ForgetRun(ctx context.Context, run jobs.RunID) error {
	if !jobs.ValidID(string(run)) {
		return fmt.Errorf("%q cannot name a run", run)
	}
	return c.purge(ctx, c.names.runsStream(), c.names.runAll(run))
}

// purgeBelow removes what a subject holds before a sequence.
func (c *Conn) purgeBelow(ctx context.Context, stream, subject string, seq uint64) error {
	query := fmt.Appendf(nil, `{"filter":%q,"seq":%s}`, subject, strconv.FormatUint(seq, 10))
	if _, err := c.api(ctx, "STREAM.PURGE."+stream, query); err != nil {
		return fmt.Errorf("purge %s before %d: %w", subject, seq, err)
	}
	return nil
}

// Dropped is the error that says so of a run whose log was dropped; nil of
// any other, whether it is there or not.
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

// droppedIn finds the same in what was read of a log.
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

// EndedRun is a run that has ended, as the sweep wants to know it.
type EndedRun struct {
	Run     jobs.RunID
	Ended   time.Time // by the server's clock
	Dropped bool      // only its end is left
}

// EndedRuns lists the runs that have ended, in the order of their ends. The
// records themselves are not read.
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

// Usage is how much a stream takes.
type Usage struct {
	Bytes    int64
	MaxBytes int64     // of the stream; where it has no limit, what is made here would have
	Now      time.Time // the server's clock
}

// RunsUsage asks how much the logs of runs take.
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

// serverTime is the server's clock; ours, where a server does not tell.
func serverTime(info *jetstream.StreamInfo) time.Time {
	if info.TimeStamp.IsZero() {
		return time.Now()
	}
	return info.TimeStamp
}
