package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/fingerprint"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// Cached is what the cache holds: each list with the least recently used first.
type Cached struct {
	Results []kv.StoredEntry
	Dirs    []kv.DirEntry
}

// Cached lists the cached results and cache directories of a namespace ("" = all).
// Without a cache it lists none.
func (c *Client) Cached(ctx context.Context, namespace string) (found Cached, err error) {
	cache, err := kv.FindCache(ctx, c.conn.Conn)
	if errors.Is(err, broker.ErrNotFound) {
		return found, nil
	}
	if err != nil {
		return found, err
	}
	namespace = cmp.Or(namespace, "*")
	if found.Results, err = cache.List(ctx, namespace); err != nil {
		return found, err
	}
	found.Dirs, err = cache.ListDirs(ctx, namespace)
	return found, err
}

// PruneCache removes the cached results and cache directories of a namespace ("" =
// all) that no run has used since a time, and returns how many it has removed.
func (c *Client) PruneCache(ctx context.Context, namespace string, before time.Time) (kv.Pruned, error) {
	cache, err := kv.FindCache(ctx, c.conn.Conn)
	if errors.Is(err, broker.ErrNotFound) {
		return kv.Pruned{}, nil
	}
	if err != nil {
		return kv.Pruned{}, err
	}
	return cache.Prune(ctx, cmp.Or(namespace, "*"), before)
}

// CacheUse says how a module of a run has used the cache.
type CacheUse struct {
	Run     jobs.RunID
	Module  string
	Status  report.Status
	Hit     *report.CachedFrom // nil = it was executed
	Entry   *kv.StoredEntry    // of its result; nil = none is stored
	Nearest *kv.StoredEntry    // the entry that differs least from it; nil = no other entry is stored
	Differs []fingerprint.Difference
	Files   []tree.Change // between the inputs of Nearest and its own, where both lists are stored
}

// ErrNoModule reports that a run has no such module.
var ErrNoModule = errors.New("no such module")

// ErrNotCached reports that a module declares no cache.
var ErrNotCached = errors.New("the module has no cache")

// ExplainCache explains why a module of a run was executed or not. It returns
// broker.ErrNotFound when there is no such run, ErrNoModule or ErrNotCached.
func (c *Client) ExplainCache(ctx context.Context, run jobs.RunID, module string) (CacheUse, error) {
	state, err := runlog.Load(ctx, c.conn.Runs, run)
	if err != nil {
		return CacheUse{}, err
	}
	rep, err := state.Report(nil)
	if err != nil {
		return CacheUse{}, err
	}
	use := CacheUse{Run: run, Module: module, Status: state.StatusOf(module)}
	id, ok := state.TokenOf(module)
	if !ok {
		return use, fmt.Errorf("%w: %s", ErrNoModule, module)
	}
	for i := range rep.Modules {
		if rep.Modules[i].Name == module {
			use.Hit = rep.Modules[i].Cached
		}
	}
	m := state.ModuleOf(id)
	if m.Cache == nil {
		return use, ErrNotCached
	}
	cache, err := kv.FindCache(ctx, c.conn.Conn)
	if errors.Is(err, broker.ErrNotFound) {
		return use, nil
	}
	if err != nil {
		return use, err
	}
	err = c.explain(ctx, cache, state.Spec(), m, &use)
	return use, err
}

// explain compares the entry that a run has stored, or hit, with the others of its
// module.
func (c *Client) explain(ctx context.Context, cache *kv.Cache, spec *jobs.Spec, m *pipeline.Module, use *CacheUse) error {
	if use.Hit != nil {
		e, err := cache.Read(ctx, use.Hit.Namespace, use.Hit.Fingerprint)
		if err == nil {
			use.Entry = &e
		}
		return ctx.Err()
	}
	others, err := c.entryOf(ctx, cache, spec, use)
	if use.Entry == nil || err != nil {
		return err
	}
	for i := range others {
		differs := fingerprint.Compare(others[i].Parts, use.Entry.Parts)
		if use.Nearest == nil || len(differs) < len(use.Differs) {
			use.Nearest, use.Differs = &others[i], differs
		}
	}
	if use.Nearest != nil {
		use.Files = c.changedInputs(ctx, m.Cache.Inputs, use.Nearest, use.Entry)
	}
	return ctx.Err()
}

// entryOf finds the entry that a run has stored for its module, and returns the older
// ones of that module in the same namespace. The namespace is the run's own, or the one
// that the orchestrator of the run uses for every run.
func (c *Client) entryOf(ctx context.Context, cache *kv.Cache, spec *jobs.Spec, use *CacheUse) (others []kv.StoredEntry, err error) {
	own := spec.Cache.Writes()
	namespaces, err := cache.Indexed(ctx, spec.Pipeline.Name, use.Module)
	if err != nil {
		return nil, err
	}
	namespaces = slices.DeleteFunc(namespaces, func(s string) bool { return s == own })
	for _, namespace := range append([]string{own}, namespaces...) {
		x, err := cache.Index(ctx, namespace, spec.Pipeline.Name, use.Module)
		if err != nil {
			return nil, err
		}
		others = nil
		for _, recent := range x.Recent {
			e, err := cache.Read(ctx, namespace, recent.Fingerprint)
			switch {
			case err != nil: // it was removed, or is of a newer version
			case e.Run == use.Run && e.Module == use.Module:
				use.Entry = &e
			case use.Entry != nil || len(others) == 0:
				others = append(others, e)
			}
		}
		if use.Entry != nil {
			break
		}
	}
	return others, ctx.Err()
}

// changedInputs lists the input files that differ between two entries. It is empty
// when one of the snapshots is not stored any more, and where files were hashed in
// place: the digests still say that they differ.
func (c *Client) changedInputs(ctx context.Context, globs []string, older, newer *kv.StoredEntry) []tree.Change {
	if older.Inputs.Root == newer.Inputs.Root {
		return nil
	}
	a, err := c.inputsOf(ctx, globs, older)
	if err != nil {
		return nil
	}
	b, err := c.inputsOf(ctx, globs, newer)
	if err != nil {
		return nil
	}
	return tree.Diff(a, b)
}

// inputsOf is the part of the snapshot of an entry's run that input globs match.
func (c *Client) inputsOf(ctx context.Context, globs []string, e *kv.StoredEntry) (*tree.Tree, error) {
	spec, err := c.Spec(ctx, e.Run)
	if err != nil {
		return nil, err
	}
	if spec.Workspace == nil {
		return nil, broker.ErrNotFound
	}
	all, err := transfer.Load(ctx, c.conn.Values.Store, spec.Workspace.Tree)
	if err != nil {
		return nil, err
	}
	return all.Select(globs)
}
