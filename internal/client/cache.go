package client

import (
	"context"
	"errors"
	"fmt"
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

// CacheEntries lists the cached results of a namespace ("" = all), the least
// recently used first. Without a cache it lists none.
func (c *Client) CacheEntries(ctx context.Context, namespace string) ([]kv.StoredEntry, error) {
	cache, err := kv.FindCache(ctx, c.conn.Conn)
	if errors.Is(err, broker.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if namespace == "" {
		namespace = "*"
	}
	return cache.List(ctx, namespace)
}

// PruneCache removes the cached results of a namespace ("" = all) that no run has
// used since a time, and returns how many it has removed.
func (c *Client) PruneCache(ctx context.Context, namespace string, before time.Time) (int, error) {
	cache, err := kv.FindCache(ctx, c.conn.Conn)
	if errors.Is(err, broker.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if namespace == "" {
		namespace = "*"
	}
	return cache.Prune(ctx, namespace, before)
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
	namespace := spec.Cache.Writes()
	if use.Hit != nil {
		e, err := cache.Read(ctx, use.Hit.Namespace, use.Hit.Fingerprint)
		if err == nil {
			use.Entry = &e
		}
		return ctx.Err()
	}
	x, err := cache.Index(ctx, namespace, spec.Pipeline.Name, use.Module)
	if err != nil {
		return err
	}
	var others []kv.StoredEntry
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
	if use.Entry == nil {
		return ctx.Err()
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
