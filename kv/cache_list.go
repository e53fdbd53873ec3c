package kv

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
)

// List lists the entries of a namespace, or of all with "*": the least recently
// used first. It leaves out what cannot be read.
func (c *Cache) List(ctx context.Context, namespace string) ([]StoredEntry, error) {
	found, err := c.bucket.ListMatching(ctx, namespace+".*")
	if err != nil {
		return nil, err
	}
	entries := make([]StoredEntry, 0, len(found))
	for _, e := range found {
		if entry, err := storedEntry(e); err == nil {
			entries = append(entries, entry)
		}
	}
	slices.SortFunc(entries, func(a, b StoredEntry) int { return a.Used.Compare(b.Used) })
	return entries, nil
}

// ListDirs lists the entries of the cache directories of a namespace, or of all with
// "*": the least recently used first. It leaves out what cannot be read.
func (c *Cache) ListDirs(ctx context.Context, namespace string) ([]DirEntry, error) {
	found, err := c.bucket.ListMatching(ctx, namespace+".dirs.*.*")
	if err != nil {
		return nil, err
	}
	entries := make([]DirEntry, 0, len(found))
	for _, e := range found {
		if entry, err := dirEntry(e); err == nil {
			entries = append(entries, entry)
		}
	}
	slices.SortFunc(entries, func(a, b DirEntry) int { return a.Used.Compare(b.Used) })
	return entries, nil
}

// Indexed lists the namespaces that have an index of a module of a pipeline, in
// alphabetical order.
func (c *Cache) Indexed(ctx context.Context, pipeline, module string) ([]string, error) {
	found, err := c.bucket.ListMatching(ctx, indexKey("*", pipeline, module))
	var names []string
	for _, e := range found {
		namespace, _, _ := strings.Cut(e.Key, ".")
		names = append(names, namespace)
	}
	slices.Sort(names)
	return names, err
}

// Drop removes the entry of a result, unless it was written again after it was read,
// and reports whether it did.
func (c *Cache) Drop(ctx context.Context, e StoredEntry) (bool, error) {
	key, err := cacheKey(e.Namespace, e.Fingerprint)
	if err != nil {
		return false, err
	}
	return c.drop(ctx, key, e.revision)
}

// DropDir removes the entry of a cache directory, likewise. The index of its name
// forgets the key.
func (c *Cache) DropDir(ctx context.Context, e DirEntry) (bool, error) {
	gone, err := c.drop(ctx, e.at, e.revision)
	if err == nil && gone {
		err = c.changeDirIndex(ctx, e.Namespace, e.Name, func(x *jobs.CacheDirIndex) { x.Remove(e.Key) })
	}
	if errors.Is(err, jetstream.ErrFull) { // an index may name what is gone
		err = nil
	}
	return gone, err
}

func (c *Cache) drop(ctx context.Context, key string, revision uint64) (bool, error) {
	err := c.bucket.DeleteAt(ctx, key, revision)
	switch {
	case errors.Is(err, jetstream.ErrConflict):
		return false, nil
	case errors.Is(err, jetstream.ErrFull): // there is no room for the marker of a deletion
		return c.bucket.Purge(ctx, key, revision)
	}
	return err == nil, err
}

// Pruned is how many entries were removed.
type Pruned struct{ Results, Dirs int }

// Prune removes the entries of a namespace ("*" = all) that were last used before a
// time: those of results, and those of cache directories.
func (c *Cache) Prune(ctx context.Context, namespace string, before time.Time) (Pruned, error) {
	var n Pruned
	results, err := c.List(ctx, namespace)
	if err != nil {
		return n, err
	}
	for _, e := range results {
		if err := count(&n.Results, e.Used.Before(before), func() (bool, error) { return c.Drop(ctx, e) }); err != nil {
			return n, err
		}
	}
	dirs, err := c.ListDirs(ctx, namespace)
	if err != nil {
		return n, err
	}
	for _, e := range dirs {
		if err := count(&n.Dirs, e.Used.Before(before), func() (bool, error) { return c.DropDir(ctx, e) }); err != nil {
			return n, err
		}
	}
	return n, nil
}

// count drops what is due, and counts what was removed.
func count(n *int, due bool, drop func() (bool, error)) error {
	if !due {
		return nil
	}
	gone, err := drop()
	if gone {
		*n++
	}
	return err
}
