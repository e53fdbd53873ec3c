package kv

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
)

// CacheKey is a key of the bucket for the sweep, without its value.
type CacheKey struct {
	Key    string
	Used   time.Time     // of its last write, by the server's clock
	Trees  []content.Ref // manifests to which it refers; they refer to more
	Values []content.Ref // plain values to which it refers: a log, outputs

	revision uint64
}

// Keys lists what a sweep may remove, the least recently used first: everything but
// flights, which decide who works. It holds no values.
func (c *Cache) Keys(ctx context.Context) ([]CacheKey, error) {
	var found []CacheKey
	err := c.bucket.Scan(ctx, ">", func() { found = nil }, func(e jetstream.BucketEntry) error {
		if !strings.HasSuffix(e.Key, flightSuffix) {
			found = append(found, keyOf(e))
		}
		return nil
	})
	slices.SortFunc(found, func(a, b CacheKey) int { return a.Used.Compare(b.Used) })
	return found, err
}

// keyOf returns what an entry refers to. It is nothing for one that cannot be read: no
// run uses it.
func keyOf(e jetstream.BucketEntry) CacheKey {
	k := CacheKey{Key: e.Key, Used: e.Time, revision: e.Revision}
	tree := func(t jobs.Tree) {
		k.Trees = append(k.Trees, content.Ref{Namespace: t.Namespace, Digest: content.Digest(t.Manifest)})
	}
	switch parts := strings.Split(e.Key, "."); {
	case len(parts) == 4 && parts[1] == "dirs":
		if d, err := decode[jobs.CacheDirEntry](e); err == nil {
			tree(d.Tree)
		}
	case len(parts) == 2:
		r, err := storedEntry(e)
		if err != nil {
			return k
		}
		for _, a := range r.Artifacts {
			tree(a.Tree)
		}
		if r.Outputs.ByRef() {
			k.Values = append(k.Values, content.Ref{Namespace: jobs.ValuesNamespace, Digest: content.Digest(r.Outputs.Ref.SHA256)})
		}
		if r.Log.Bytes > 0 {
			k.Values = append(k.Values, content.Ref{Namespace: r.Namespace, Digest: content.Digest(r.Log.SHA256)})
		}
	}
	return k
}

// Remove removes a key, unless it was written again after it was listed, and reports
// whether it did. It needs no room in the bucket.
func (c *Cache) Remove(ctx context.Context, k CacheKey) (bool, error) {
	return c.bucket.Purge(ctx, k.Key, k.revision)
}

// Usage returns the size of the bucket.
func (c *Cache) Usage(ctx context.Context) (jetstream.Usage, error) {
	u, err := c.bucket.Usage(ctx)
	if u.MaxBytes <= 0 {
		u.MaxBytes = cacheBytes
	}
	return u, err
}
