package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// ends selects the submissions and the ends of all runs. begun is called before
// reading from the start.
func ends(headersOnly bool, begun func() error) jetstream.Source {
	return jetstream.Source{
		Stream: streams.Runs, Filters: []string{topology.Run("*", topology.Spec), topology.Run("*", topology.End)},
		HeadersOnly: headersOnly, Began: begun,
	}
}

// RunRow is a run in a list.
type RunRow struct {
	report.Run
	// Sequence is the position of the run's specification in the stream: later
	// runs have larger ones.
	Sequence uint64
	// Problem is why the specification or the end cannot be read; nil = they can.
	Problem error
}

// Page selects a part of the list of runs.
type Page struct {
	Limit  int    // at most so many runs; 0 = all
	Before uint64 // only runs with a smaller Sequence; 0 = from the newest
}

// List lists the runs on this NATS, the newest first. It reads the headers of the
// specifications, not the graphs in them; only a run that an older version has
// submitted, without these headers, is decoded. Status, Finished and Error come
// from the ends.
func (r *Runs) List(ctx context.Context, page Page) ([]RunRow, error) {
	rows, err := r.submitted(ctx)
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	slices.SortFunc(rows, func(a, b RunRow) int { return cmp.Compare(b.Sequence, a.Sequence) })
	if page.Before > 0 {
		rows = slices.DeleteFunc(rows, func(x RunRow) bool { return x.Sequence >= page.Before })
	}
	if page.Limit > 0 && len(rows) > page.Limit {
		rows = rows[:page.Limit]
	}
	for i := range rows {
		if err := r.describe(ctx, &rows[i]); err != nil {
			return nil, fmt.Errorf("list runs: %w", err)
		}
	}
	if err := r.conclude(ctx, rows); err != nil {
		return nil, fmt.Errorf("list the ends of runs: %w", err)
	}
	return rows, nil
}

// submitted reads the headers of all specifications. A row without the header
// has no pipeline yet.
func (r *Runs) submitted(ctx context.Context) ([]RunRow, error) {
	found := map[jobs.RunID]RunRow{}
	src := jetstream.Source{
		Stream: streams.Runs, Filters: []string{topology.Run("*", topology.Spec)}, HeadersOnly: true,
		Began: func() error { clear(found); return nil },
	}
	err := r.c.ReadAll(ctx, src, func(m jetstream.Message) error {
		run, _, _, _ := topology.ParseRun(m.Subject)
		if _, known := found[run]; known {
			return nil // the first specification of a run counts
		}
		row := RunRow{Sequence: m.Seq, Run: rowOf(m.Header)}
		row.Run.Run, row.Started, row.Status = string(run), m.Time, report.RunRunning
		found[run] = row
		return nil
	})
	return slices.Collect(maps.Values(found)), err
}

// describe completes a row without the header from its specification.
func (r *Runs) describe(ctx context.Context, row *RunRow) error {
	if row.Labels != nil {
		return nil
	}
	row.Labels = map[string]string{}
	spec, err := r.Spec(ctx, jobs.RunID(row.Run.Run))
	switch {
	case unreadable(err):
		row.Problem = err
	case err != nil:
		return err
	default:
		describe(&row.Run, spec)
	}
	return nil
}

// conclude adds the ends of the listed runs.
func (r *Runs) conclude(ctx context.Context, rows []RunRow) error {
	byRun := map[jobs.RunID]*RunRow{}
	for i := range rows {
		byRun[jobs.RunID(rows[i].Run.Run)] = &rows[i]
	}
	src := jetstream.Source{Stream: streams.Runs, Filters: []string{topology.Run("*", topology.End)}}
	return r.c.ReadAll(ctx, src, func(m jetstream.Message) error {
		run, _, _, _ := topology.ParseRun(m.Subject)
		row := byRun[run]
		if row == nil {
			return nil
		}
		e, err := r.entry(ctx, m, nil)
		if err == nil {
			err = e.Unread
		}
		switch {
		case err != nil && !unreadable(err):
			return err
		case err != nil:
			row.Problem = err
		case e.Record.End != nil:
			finished := e.Time
			row.Status, row.Error, row.Finished = e.Record.End.Status, e.Record.End.Error, &finished
		}
		return nil
	})
}

// RunChange is a change of the runs on this NATS.
type RunChange struct {
	Run    jobs.RunID
	Ended  bool // the run has ended; else it was submitted
	Began  bool // alone: the watch starts or restarts; a run that is not sent before the next Synced no longer exists
	Synced bool // alone: all runs that existed when the watch began have been sent
}

// Watch sends the submissions and ends of all runs, in order, and then every
// new one, until ctx ends (then it returns nil). It restarts after a reconnect,
// and when the stream was recreated. It does not read the records themselves.
func (r *Runs) Watch(ctx context.Context, out chan<- RunChange) error {
	src := ends(true, func() error { return deliver(ctx, out, RunChange{Began: true}) })
	src.CaughtUp = func() error { return deliver(ctx, out, RunChange{Synced: true}) }
	err := r.c.Feed(ctx, src, func(m jetstream.Message) error {
		run, _, kind, _ := topology.ParseRun(m.Subject)
		return deliver(ctx, out, RunChange{Run: run, Ended: kind == topology.End})
	})
	if err != nil {
		return fmt.Errorf("watch the runs: %w", err)
	}
	return nil
}

// EndedRun describes a run that has ended, for the sweep.
type EndedRun struct {
	Run     jobs.RunID
	Ended   time.Time // by the server's clock
	Dropped bool      // only its end is left
}

// listHeaders reads which runs were submitted, in order, and which have ended, in
// order. It does not read the records themselves.
func (r *Runs) listHeaders(ctx context.Context) (submitted []jobs.RunID, ended []EndedRun, err error) {
	src := ends(true, func() error {
		submitted, ended = nil, nil
		return nil
	})
	err = r.c.ReadAll(ctx, src, func(m jetstream.Message) error {
		run, _, kind, _ := topology.ParseRun(m.Subject)
		if kind == topology.Spec {
			submitted = append(submitted, run)
		} else {
			ended = append(ended, EndedRun{Run: run, Ended: m.Time})
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list the runs and their ends: %w", err)
	}
	return submitted, ended, nil
}

// ListEnded lists the runs that have ended, in the order of their ends.
func (r *Runs) ListEnded(ctx context.Context) ([]EndedRun, error) {
	submitted, ended, err := r.listHeaders(ctx)
	if err != nil {
		return nil, err
	}
	exists := map[jobs.RunID]bool{}
	for _, run := range submitted {
		exists[run] = true
	}
	for i := range ended {
		ended[i].Dropped = !exists[ended[i].Run]
	}
	slices.SortStableFunc(ended, func(a, b EndedRun) int { return a.Ended.Compare(b.Ended) })
	return ended, nil
}

// ListOpen lists the runs that have no end, or one after since.
func (r *Runs) ListOpen(ctx context.Context, since time.Time) ([]jobs.RunID, error) {
	submitted, ended, err := r.listHeaders(ctx)
	if err != nil {
		return nil, err
	}
	closed := map[jobs.RunID]bool{}
	for _, e := range ended {
		if e.Ended.Before(since) {
			closed[e.Run] = true
		}
	}
	return slices.DeleteFunc(submitted, func(run jobs.RunID) bool { return closed[run] }), nil
}

// ListClosed lists the runs that have a log and that ended before a time.
func (r *Runs) ListClosed(ctx context.Context, before time.Time) ([]jobs.RunID, error) {
	submitted, ended, err := r.listHeaders(ctx)
	if err != nil {
		return nil, err
	}
	closed := map[jobs.RunID]bool{}
	for _, e := range ended {
		closed[e.Run] = e.Ended.Before(before)
	}
	return slices.DeleteFunc(submitted, func(run jobs.RunID) bool { return !closed[run] }), nil
}

// Usage returns the size of all logs of runs.
func (r *Runs) Usage(ctx context.Context) (jetstream.Usage, error) {
	u, err := r.c.Usage(ctx, streams.Runs)
	u.MaxBytes = cmp.Or(u.MaxBytes, streams.RunsBytes)
	return u, err
}

// Mark marks every value to which the log of a run refers: long records, outputs, and
// trees of files with everything to which they refer by refs.
func (r *Runs) Mark(ctx context.Context, run jobs.RunID, used *content.Marks, refs content.Refs) error {
	src := jetstream.Source{Stream: streams.Runs, Filters: []string{topology.Records(run)}}
	err := r.c.ReadAll(ctx, src, func(m jetstream.Message) error {
		if byReference(m.Msg) {
			for _, ref := range []content.Ref{bodyRef(m), valueRef(m.Header.Get(headerBlob))} { // the latter of an earlier version
				if err := used.Add(ctx, ref, nil); err != nil {
					return err
				}
			}
		}
		e, err := r.entry(ctx, m, nil)
		if err == nil && e.Cell == "" {
			err = e.Unread
		}
		switch {
		case unreadable(err) && !errors.Is(err, jobs.ErrNewer): // no reader follows its references
			return nil
		case err != nil:
			return err
		}
		return markRecord(ctx, &e.Record, used, refs)
	})
	if err != nil {
		return fmt.Errorf("find the blobs of run %s: %w", run, err)
	}
	return nil
}

// markRecord marks the values to which a record refers.
func markRecord(ctx context.Context, rec *jobs.Record, used *content.Marks, refs content.Refs) error {
	for _, o := range outputsIn(rec) {
		if err := used.Add(ctx, valueRef(o.Ref.SHA256), nil); err != nil {
			return err
		}
	}
	if o := rec.Outcome; o != nil && o.Cached != nil && o.Cached.Log.Bytes > 0 {
		log := content.Ref{Namespace: o.Cached.Namespace, Digest: content.Digest(o.Cached.Log.SHA256)}
		if err := used.Add(ctx, log, nil); err != nil {
			return err
		}
	}
	for _, t := range treesIn(rec) {
		if err := used.Add(ctx, content.Ref{Namespace: t.Namespace, Digest: content.Digest(t.Manifest)}, refs); err != nil {
			return err
		}
	}
	return nil
}

// bodyRef names the long body of a message.
func bodyRef(m jetstream.Message) content.Ref {
	return content.Ref{Namespace: topology.BodyNamespace(m.Subject), Digest: content.Digest(m.Header.Get(headerBlob))}
}

// valueRef names a value of a run.
func valueRef(digest string) content.Ref {
	return content.Ref{Namespace: jobs.ValuesNamespace, Digest: content.Digest(digest)}
}

func outputsIn(rec *jobs.Record) (found []jobs.Value) {
	if rec.Outcome != nil {
		found = append(found, rec.Outcome.Outputs)
	}
	if rec.Spec != nil {
		for _, k := range rec.Spec.Kept {
			found = append(found, k.Outputs)
		}
	}
	return found
}

// treesIn are the trees of files to which a record refers.
func treesIn(rec *jobs.Record) (found []jobs.Tree) {
	artifacts := func(list []jobs.Artifact) {
		for _, a := range list {
			found = append(found, a.Tree)
		}
	}
	if rec.Outcome != nil {
		artifacts(rec.Outcome.Artifacts)
		for _, d := range rec.Outcome.CacheDirs { // its entry is not written yet
			found = append(found, d.Tree)
		}
	}
	if rec.Spec == nil {
		return found
	}
	if w := rec.Spec.Workspace; w != nil {
		found = append(found, w.Tree)
		if w.Git != nil {
			found = append(found, *w.Git)
		}
	}
	for _, k := range rec.Spec.Kept {
		artifacts(k.Artifacts)
	}
	return found
}
