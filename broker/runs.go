package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// RunSummary describes a run in a list.
type RunSummary struct {
	Spec    jobs.Spec // its Pipeline has the name alone; without Origin
	Started time.Time
	End     *jobs.End // nil while it runs
	Ended   time.Time
	Problem error // why its specification or its end cannot be read; nil = they can
}

// Runs lists the runs on this NATS, newest first, at most limit (0 = all).
func (c *Conn) Runs(ctx context.Context, limit int) ([]RunSummary, error) {
	found := map[jobs.RunID]*RunSummary{}
	src := source{stream: c.names.runsStream(), filters: []string{c.names.run("*", "spec"), c.names.run("*", "end")}, begun: func() error {
		clear(found)
		return nil
	}}
	err := c.readAll(ctx, src, func(l located) error {
		run, _, _ := c.names.parseRun(l.msg.Subject)
		if found[run] != nil && l.msg.Subject == c.names.run(run, "spec") {
			return nil // the first one counts
		}
		e, err := c.entry(ctx, l)
		if err == nil {
			err = e.Unread
		}
		switch {
		case err != nil && !unreadable(err):
			return err
		case err != nil:
			if found[run] == nil {
				found[run] = &RunSummary{Spec: jobs.Spec{Run: run, Pipeline: &pipeline.Pipeline{}}, Started: l.time}
			}
			found[run].Problem = err
		default:
			summarize(found, run, e)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	runs := make([]RunSummary, 0, len(found))
	for _, s := range found {
		runs = append(runs, *s)
	}
	slices.SortFunc(runs, func(a, b RunSummary) int { return b.Started.Compare(a.Started) })
	if limit > 0 && len(runs) > limit {
		runs = runs[:limit]
	}
	return runs, nil
}

func summarize(found map[jobs.RunID]*RunSummary, run jobs.RunID, e jobs.Entry) {
	switch rec := e.Record; {
	case rec.Spec != nil:
		spec := *rec.Spec
		spec.Pipeline, spec.Origin = &pipeline.Pipeline{}, nil
		if rec.Spec.Pipeline != nil {
			spec.Pipeline.Name = rec.Spec.Pipeline.Name
		}
		found[run] = &RunSummary{Spec: spec, Started: e.Time}
	case rec.End != nil && found[run] != nil:
		found[run].End, found[run].Ended = rec.End, e.Time
	}
}

// Spec reads the specification of a run; the caller must not change it. It returns
// ErrNotFound when there is no such run, and DroppedError when only its end is
// left.
func (c *Conn) Spec(ctx context.Context, run jobs.RunID) (*jobs.Spec, error) {
	e, err := c.firstEntry(ctx, c.names.run(run, "spec"))
	if errors.Is(err, ErrNotFound) {
		if dropped := c.Dropped(ctx, run); dropped != nil {
			err = dropped
		}
	}
	if err == nil {
		err = e.Unread
	}
	if err == nil && e.Record.Spec == nil {
		err = fmt.Errorf("%w: it holds no specification", jobs.ErrMalformed)
	}
	if err != nil {
		return nil, fmt.Errorf("read the specification of run %s: %w", run, err)
	}
	return e.Record.Spec, nil
}

// RunChange is a change of the runs on this NATS.
type RunChange struct {
	Run    jobs.RunID
	Ended  bool // the run has ended; else it was submitted
	Began  bool // alone: the watch starts or restarts; a run that is not sent before the next Synced no longer exists
	Synced bool // alone: all runs that existed when the watch began have been sent
}

// WatchRuns sends the submissions and ends of all runs, in order, and then every
// new one, until ctx ends (then it returns nil). It restarts after a reconnect,
// and when the stream was recreated. It does not read the records themselves.
func (c *Conn) WatchRuns(ctx context.Context, out chan<- RunChange) error {
	src := source{
		stream: c.names.runsStream(), filters: []string{c.names.run("*", "spec"), c.names.run("*", "end")}, headers: true,
		begun:  func() error { return deliver(ctx, out, RunChange{Began: true}) },
		caught: func() error { return deliver(ctx, out, RunChange{Synced: true}) },
	}
	err := c.feed(ctx, src, func(l located) error {
		run, _, _ := c.names.parseRun(l.msg.Subject)
		return deliver(ctx, out, RunChange{Run: run, Ended: l.msg.Subject == c.names.run(run, "end")})
	})
	if err != nil {
		return fmt.Errorf("watch the runs: %w", err)
	}
	return nil
}

// RunsCreated returns when the stream of runs was created, by the server's clock.
func (c *Conn) RunsCreated(ctx context.Context) (time.Time, error) {
	info, err := c.streamInfo(ctx, c.names.runsStream())
	if err != nil {
		return time.Time{}, fmt.Errorf("look at the stream of runs: %w", err)
	}
	return info.Created, nil
}
