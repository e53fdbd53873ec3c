package jetstream

import (
	"context"
	"fmt"
	"time"
)

// List reads all existing keys.
func (b *Bucket) List(ctx context.Context) ([]BucketEntry, error) { return b.ListMatching(ctx, ">") }

// ListMatching reads the existing keys that a filter selects, which may contain
// the wildcards of subjects.
func (b *Bucket) ListMatching(ctx context.Context, filter string) ([]BucketEntry, error) {
	var entries []BucketEntry
	err := b.Scan(ctx, filter, func() { entries = nil }, func(e BucketEntry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// Scan calls f with every entry that a filter selects, as they are now, and holds none
// of them. It calls began before the first, and again when it starts over.
func (b *Bucket) Scan(ctx context.Context, filter string, began func(), f func(BucketEntry) error) error {
	src := b.matching(filter)
	src.Began = func() error {
		began()
		return nil
	}
	err := b.c.ReadAll(ctx, src, func(l Message) error {
		if e := b.entry(l); !e.Gone {
			return f(e)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list %s: %w", b.Name(), err)
	}
	return nil
}

// Watch calls f with every entry and then with every change, until ctx ends
// (then it returns nil) or f fails. It restarts after a reconnect, and when the
// bucket was recreated.
func (b *Bucket) Watch(ctx context.Context, f func(BucketEntry) error) error {
	return b.watch(ctx, b.source(), f)
}

// WatchMatching is Watch for the keys that a filter selects.
func (b *Bucket) WatchMatching(ctx context.Context, filter string, f func(BucketEntry) error) error {
	return b.watch(ctx, b.matching(filter), f)
}

// WatchClosely is Watch that also calls f once per beat while nothing changes,
// and restarts when the server is silent for four beats.
func (b *Bucket) WatchClosely(ctx context.Context, beat time.Duration, f func(BucketEntry) error) error {
	src := b.source()
	src.Beat, src.OnBeat = beat, func() error { return f(BucketEntry{Beat: true}) }
	return b.watch(ctx, src, f)
}

func (b *Bucket) watch(ctx context.Context, src Source, f func(BucketEntry) error) error {
	src.Began = func() error { return f(BucketEntry{Begun: true}) }
	src.CaughtUp = func() error { return f(BucketEntry{Synced: true}) }
	if err := b.c.Feed(ctx, src, func(l Message) error { return f(b.entry(l)) }); err != nil {
		return fmt.Errorf("watch %s: %w", b.Name(), err)
	}
	return nil
}

func (b *Bucket) source() Source { return b.matching(">") }

func (b *Bucket) matching(filter string) Source {
	return Source{
		Stream: b.stream(), Filters: []string{b.subject(filter)}, Latest: true,
		missing: b.recreate,
	}
}

// Usage returns the size of the bucket.
func (b *Bucket) Usage(ctx context.Context) (Usage, error) { return b.c.Usage(ctx, b.stream()) }
