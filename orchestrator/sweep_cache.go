package orchestrator

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/kv"
)

// openCache opens the bucket of cached results, if there is one, and reports whether
// it is nearly full.
func (s *sweep) openCache(ctx context.Context) (pressed bool, err error) {
	s.cache, err = kv.FindCache(ctx, s.conn.Conn)
	if errors.Is(err, broker.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	usage, err := s.cache.Usage(ctx)
	return share(usage, usage.MaxBytes) > pressedAbove, err
}

// listCache lists the keys of the bucket of cached results. When it is nearly full,
// listCache drops those that were used before the others, until there is room. Nothing
// depends on a key. The bucket itself drops what was not used for 14 days.
//
// Content does not go with its entry at once: runs and other entries may refer to it.
// Without them it goes by its own last use, which is that of the entry.
func (s *sweep) listCache(ctx context.Context, pressed bool) error {
	if s.cache == nil {
		return nil
	}
	keys, err := s.cache.Keys(ctx)
	if err != nil {
		return err
	}
	dropped := 0
	for ; pressed && dropped < len(keys); dropped++ {
		if dropped%dropBatch == 0 {
			usage, err := s.cache.Usage(ctx)
			if err != nil {
				return err
			}
			if share(usage, usage.MaxBytes) < pressedUntil {
				break
			}
		}
		if err := s.dropKey(ctx, keys[dropped]); err != nil {
			return err
		}
	}
	s.keys = slices.DeleteFunc(keys[dropped:], func(k kv.CacheKey) bool { return len(k.Trees)+len(k.Values) == 0 })
	return nil
}

func (s *sweep) dropKey(ctx context.Context, k kv.CacheKey) error {
	gone, err := s.cache.Remove(ctx, k)
	if gone {
		s.done.Entries++
	}
	return err
}

// cached marks the content of cache entries: as long as an entry is there, so is its
// content.
func (s *sweep) cached(ctx context.Context, needed *content.Marks, refs content.Refs) error {
	for i := range s.keys {
		for _, ref := range slices.Concat(s.keys[i].Trees, s.keys[i].Values) {
			if err := needed.Add(ctx, ref, refs); err != nil {
				return err
			}
		}
	}
	return nil
}

// useCached counts the last use of a cache entry as one of its content.
func (s *sweep) useCached(blobs []content.Stored) {
	used := map[content.Ref]time.Time{}
	for _, k := range s.keys {
		for _, ref := range slices.Concat(k.Trees, k.Values) {
			if k.Used.After(used[ref]) {
				used[ref] = k.Used
			}
		}
	}
	content.UsedAt(blobs, used)
}

// dropEmptied drops the entries whose content was dropped. A list of files goes before
// the files.
func (s *sweep) dropEmptied(ctx context.Context) error {
	for _, k := range s.keys {
		if slices.ContainsFunc(slices.Concat(k.Trees, k.Values), func(ref content.Ref) bool { return s.gone[ref] }) {
			if err := s.dropKey(ctx, k); err != nil {
				return err
			}
		}
	}
	return nil
}
