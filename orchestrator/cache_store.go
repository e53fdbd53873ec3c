package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// flakyWithin is how long a failure counts that is followed by a success with the
// same fingerprint.
const flakyWithin = 14 * 24 * time.Hour

// storePatience bounds how long a result is tried to be stored: the end of the run
// waits for it, and NATS may deny it for ever.
const storePatience = 30 * time.Second

// conclude stores the result of a closed attempt if it may be stored, and then gives
// the flight back. Nothing depends on the entry: a failure is logged.
func (l *loop) conclude(ctx context.Context, a schedule.Conclude) {
	var tools map[string]string
	if o := a.Outcome; o != nil {
		if w, ok := l.fleet.Worker(o.Worker); ok && w.Incarnation == o.Incarnation {
			tools = required(a.Module.Requires.Tools, w.Capabilities.Tools)
		}
	}
	l.tasks.add(func() {
		note, err := l.cache.conclude(ctx, l.state.Spec(), a, tools)
		if err != nil {
			l.fail(ctx, fmt.Errorf("give back the flight of module %s: %w", a.ID.Module, err))
			return
		}
		l.answer(ctx, func() { l.dispatcher.Concluded(note) })
	})
}

func (k *cache) conclude(ctx context.Context, spec *jobs.Spec, a schedule.Conclude, tools map[string]string) (*jobs.Note, error) {
	k.mu.Lock()
	this := k.known[a.ID]
	delete(k.known, a.ID)
	k.mu.Unlock()
	if this == nil {
		return nil, nil
	}
	var note *jobs.Note
	if o := a.Outcome; o != nil && !k.policy.NoWrite {
		var err error
		storing, stop := context.WithTimeout(ctx, storePatience)
		switch o.Status {
		case report.AttemptSucceeded:
			note, err = k.store(storing, spec, a, this, tools)
		case report.AttemptFailed, report.AttemptTimedOut:
			err = k.failed(storing, spec, a, this)
		default:
		}
		stop()
		if errors.Is(err, broker.ErrFull) {
			note, err = k.noRoom(note, a.ID.Module), nil
		}
		if err != nil && ctx.Err() == nil {
			k.cfg.Logger.Warn("storing a result in the cache failed; the run does not depend on it", "run", spec.Run, "module", a.Module.Name, "error", err)
		}
	}
	return note, k.leaveFlight(ctx, a.ID, this)
}

// noRoom adds to a note, once a run, that the bucket is full.
func (k *cache) noRoom(note *jobs.Note, of jobs.ModuleID) *jobs.Note {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.full {
		return note
	}
	k.full = true
	if note == nil {
		note = &jobs.Note{Module: of}
	}
	const text = "the cache has no room: results of this run are not stored until older ones are removed"
	note.Warning = strings.TrimPrefix(note.Warning+"; "+text, "; ")
	return note
}

// store stores the result of an attempt that has succeeded. It returns a note when
// the result differs from that of an earlier attempt, or that one failed.
func (k *cache) store(ctx context.Context, spec *jobs.Spec, a schedule.Conclude, this *known, tools map[string]string) (*jobs.Note, error) {
	o := a.Outcome
	note := &jobs.Note{Module: a.ID.Module}
	tries, err := k.bucket.Tries(ctx, k.namespace, this.print.Sum)
	if err == nil {
		note.Flaky = !tries.Failed.IsZero() && a.Closed.Sub(tries.Failed) < flakyWithin
	}
	if err := k.bucket.AddToIndex(ctx, k.namespace, spec.Pipeline.Name, a.Module.Name, this.print.Sum, a.Closed); err != nil {
		k.cfg.Logger.Debug("adding a fingerprint to the index of the cache failed", "module", a.Module.Name, "error", err)
	}
	if why := k.unstorable(ctx, a, this); why != "" {
		k.cfg.Logger.Debug("a result is not stored in the cache", "module", a.Module.Name, "reason", why)
		return nonzero(note), nil
	}
	if err := k.genuine(ctx, o.Artifacts); err != nil {
		return nonzero(note), err
	}
	e := entryOf(spec, a.Module, o, this)
	e.When, e.Tools, e.Log = a.Closed, tools, k.keepLog(ctx, spec.Run, a.ID, o)
	if !o.Hermetic {
		e.Place = cmp.Or(k.place, o.Place)
	}
	if before, err := k.bucket.Read(ctx, k.namespace, this.print.Sum); err == nil {
		if e.Differs = differs(&before.CacheEntry, e); e.Differs != "" {
			note.Warning = fmt.Sprintf("its result is not reproducible: %s of run %s, with the same inputs, has left other %s", before.Module, before.Run, e.Differs)
		}
	}
	return nonzero(note), k.bucket.Store(ctx, k.namespace, e)
}

// genuine returns why artifacts that a worker reports are not stored as it says. Every
// run that uses their entry would fail. It looks at one after the other: each list of
// files may be long.
func (k *cache) genuine(ctx context.Context, artifacts []jobs.Artifact) error {
	k.checking.Lock()
	defer k.checking.Unlock()
	for _, a := range artifacts {
		if !isTree(a.Tree) || a.Tree.Namespace != k.namespace {
			return fmt.Errorf("artifact %.80s: the worker names no tree of the run's namespace", a.Name)
		}
		t, err := k.files.load(ctx, a.Tree)
		if err != nil {
			return fmt.Errorf("artifact %.80s: %w", a.Name, err)
		}
		files := 0 // links and empty directories do not count
		for _, f := range t.Files {
			if f.HasContent() {
				files++
			}
		}
		if files != a.Tree.Files || t.Size() != a.Tree.Bytes {
			return fmt.Errorf("artifact %.80s has %d files and %d bytes, and the worker says %d and %d", a.Name, files, t.Size(), a.Tree.Files, a.Tree.Bytes)
		}
	}
	return nil
}

// entryOf is the entry of an attempt that has succeeded.
func entryOf(spec *jobs.Spec, m *pipeline.Module, o *jobs.Outcome, this *known) *jobs.CacheEntry {
	return &jobs.CacheEntry{
		Fingerprint: this.print.Sum, Run: spec.Run, Pipeline: spec.Pipeline.Name, Module: m.Name, Attempt: o.Attempt,
		By: spec.StartedBy, Worker: o.Worker, Took: max(0, o.Finished.Sub(o.Started)),
		Outputs: o.Outputs, Artifacts: o.Artifacts, Parts: this.print.Parts, Inputs: this.inputs, Hermetic: o.Hermetic,
	}
}

func nonzero(note *jobs.Note) *jobs.Note {
	if !note.Flaky && note.Warning == "" {
		return nil
	}
	return note
}

// unstorable returns why the result of an attempt is not stored. Empty = it is.
func (k *cache) unstorable(ctx context.Context, a schedule.Conclude, this *known) string {
	o, globs := a.Outcome, a.Module.Cache.Inputs
	switch {
	case !o.Hermetic && k.place == "" && o.Place == "":
		return "the attempt found files that it does not declare, or other inputs than the snapshot of the run has"
	case !o.Hermetic && k.place == "", len(globs) == 0, o.Hermetic && k.files.dir == "":
		return ""
	}
	hash := k.files.now
	if o.Hermetic { // on another machine, from the snapshot
		hash = k.files.taken
	}
	after, err := hash(ctx, globs)
	switch {
	case err != nil:
		return "its inputs cannot be hashed again: " + err.Error()
	case after.Root != this.inputs.Root:
		return "its inputs changed while it ran"
	}
	return ""
}

// failed notes that an attempt has failed.
func (k *cache) failed(ctx context.Context, spec *jobs.Spec, a schedule.Conclude, this *known) error {
	if err := k.bucket.AddToIndex(ctx, k.namespace, spec.Pipeline.Name, a.Module.Name, this.print.Sum, a.Closed); err != nil {
		return err
	}
	return k.bucket.SetTries(ctx, k.namespace, this.print.Sum, jobs.Attempted{
		Failed: a.Closed, Run: spec.Run, Attempt: a.ID.Attempt, Status: a.Outcome.Status,
	})
}

// required are the versions that a worker had of the tools that a module requires.
func required(tools []pipeline.Tool, have map[string]string) map[string]string {
	found := map[string]string{}
	for _, t := range tools {
		if v := have[t.Name]; v != "" {
			found[t.Name] = v
		}
	}
	return found
}

// mostDiffering bounds how many names a difference lists.
const mostDiffering = 5

// differs names the outputs and artifacts in which two results differ. Empty =
// they are the same.
func differs(a, b *jobs.CacheEntry) string {
	var parts []string
	if names := differingOutputs(a.Outputs, b.Outputs); len(names) > 0 {
		parts = append(parts, listed("outputs", names))
	}
	roots := map[string]string{}
	for _, x := range a.Artifacts {
		roots[x.Name] = x.Tree.Root
	}
	var names []string
	for _, x := range b.Artifacts {
		if roots[x.Name] != x.Tree.Root {
			names = append(names, x.Name)
		}
		delete(roots, x.Name)
	}
	if names = append(names, slices.Sorted(maps.Keys(roots))...); len(names) > 0 {
		parts = append(parts, listed("artifacts", names))
	}
	return strings.Join(parts, " and ")
}

func listed(what string, names []string) string {
	more := ""
	if len(names) > mostDiffering {
		more = fmt.Sprintf(" and %d more", len(names)-mostDiffering)
		names = names[:mostDiffering]
	}
	return what + " (" + strings.Join(names, ", ") + more + ")"
}

// differingOutputs names outputs with two values. A value that is not inline, or
// the result of a function, counts as a whole.
func differingOutputs(a, b jobs.Value) []string {
	if a.Kind == b.Kind && a.Ref == b.Ref && string(a.Inline) == string(b.Inline) {
		return nil
	}
	x, errX := a.Outputs()
	y, errY := b.Outputs()
	if errX != nil || errY != nil || a.ByRef() || b.ByRef() || a.Kind != jobs.OutputsValue || b.Kind != jobs.OutputsValue {
		return []string{"the value as a whole"}
	}
	var names []string
	for name, v := range y {
		if w, ok := x[name]; !ok || w != v {
			names = append(names, name)
		}
	}
	for name := range x {
		if _, ok := y[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
