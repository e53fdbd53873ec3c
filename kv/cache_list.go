package kv

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/modpipe/modpipe/internal/jetstream"
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

// Drop removes an entry, unless it was written again after it was read, and
// reports whether it did.
func (c *Cache) Drop(ctx context.Context, e StoredEntry) (bool, error) {
	key, err := cacheKey(e.Namespace, e.Fingerprint)
	if err != nil {
		return false, err
	}
	err = c.bucket.DeleteAt(ctx, key, e.revision)
	switch {
	case errors.Is(err, jetstream.ErrConflict):
		return false, nil
	case errors.Is(err, jetstream.ErrFull): // there is no room for the marker of a deletion
		return c.bucket.Purge(ctx, key, e.revision)
	}
	return err == nil, err
}

// Prune removes the entries of a namespace ("*" = all) that were last used
// before a time, and returns how many.
func (c *Cache) Prune(ctx context.Context, namespace string, before time.Time) (int, error) {
	entries, err := c.List(ctx, namespace)
	if err != nil {
		return 0, err
	}
	dropped := 0
	for _, e := range entries {
		if !e.Used.Before(before) {
			break
		}
		gone, err := c.Drop(ctx, e)
		if err != nil {
			return dropped, err
		}
		if gone {
			dropped++
		}
	}
	return dropped, nil
}
