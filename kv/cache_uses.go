package kv

import (
	"context"
	"strings"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
)

// CacheHolder is an entry of the bucket and the content to which it refers.
type CacheHolder struct {
	Key    string
	Trees  []content.Ref // manifests, which refer to more
	Values []content.Ref // plain values: a log, outputs

	revision uint64
}

// Holders lists the entries that refer to content: cached results and cache
// directories.
func (c *Cache) Holders(ctx context.Context) ([]CacheHolder, error) {
	var found []CacheHolder
	for _, filter := range []string{"*.dirs.*.*", "*.*"} {
		entries, err := c.bucket.ListMatching(ctx, filter)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if h := holderOf(e); len(h.Trees)+len(h.Values) > 0 {
				found = append(found, h)
			}
		}
	}
	return found, nil
}

// holderOf returns what an entry refers to. It is nothing for one that cannot be
// read: no run uses it.
func holderOf(e jetstream.BucketEntry) CacheHolder {
	h := CacheHolder{Key: e.Key, revision: e.Revision}
	tree := func(t jobs.Tree) {
		h.Trees = append(h.Trees, content.Ref{Namespace: t.Namespace, Digest: content.Digest(t.Manifest)})
	}
	if strings.Contains(e.Key, ".dirs.") {
		if d, err := decode[jobs.CacheDirEntry](e); err == nil {
			tree(d.Tree)
		}
		return h
	}
	r, err := storedEntry(e)
	if err != nil {
		return h
	}
	for _, a := range r.Artifacts {
		tree(a.Tree)
	}
	if r.Outputs.ByRef() {
		h.Values = append(h.Values, content.Ref{Namespace: jobs.ValuesNamespace, Digest: content.Digest(r.Outputs.Ref.SHA256)})
	}
	if r.Log.Bytes > 0 {
		h.Values = append(h.Values, content.Ref{Namespace: r.Namespace, Digest: content.Digest(r.Log.SHA256)})
	}
	return h
}
