package kv

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
)

// Flights are the entries of the cache that name the attempt which produces the
// result of a fingerprint (jobs.Lock with Flight set). An attempt takes one by
// compare-and-set and gives it back when it is closed. An entry that cannot be read
// counts as free: to execute a module twice does no harm.
type Flights struct{ cache *Cache }

// Flights returns the flights in the bucket.
func (c *Cache) Flights() Flights { return Flights{c} }

const flightSuffix = ".flight"

// Read returns a flight's entry and the revision that a change of it expects.
func (f Flights) Read(ctx context.Context, lock jobs.Lock) (jobs.LockEntry, uint64, error) {
	none := jobs.LockEntry{Name: lock.Name}
	last, err := f.cache.bucket.Last(ctx, lock.Name+flightSuffix)
	if errors.Is(err, jetstream.ErrNotFound) {
		return none, last.Revision, nil
	}
	if err != nil {
		return none, 0, fmt.Errorf("read who produces %s: %w", lock.Name, err)
	}
	entry, err := decode[jobs.LockEntry](last)
	if err != nil || entry.Name != lock.Name {
		return none, last.Revision, nil //nolint:nilerr // it counts as free
	}
	return entry, last.Revision, nil
}

// Write stores a flight's entry, or removes one without holders, if its last
// revision is the given one. It reports false otherwise: another write came first.
func (f Flights) Write(ctx context.Context, lock jobs.Lock, entry jobs.LockEntry, revision uint64) (bool, error) {
	key := lock.Name + flightSuffix
	var err error
	if len(entry.Holders) == 0 {
		err = f.cache.bucket.DeleteAt(ctx, key, revision)
	} else {
		var value []byte
		if value, err = jobs.Marshal(&entry); err == nil {
			_, err = f.cache.bucket.Update(ctx, key, value, revision)
		}
	}
	if errors.Is(err, jetstream.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

// Watch calls freed with the name of each flight that was given back, until ctx
// ends (then it returns nil). It calls it with an empty name when changes may have
// been missed: when it starts, and after a reconnect.
func (f Flights) Watch(ctx context.Context, freed func(name string)) error {
	return ended(ctx, f.cache.bucket.WatchMatching(ctx, "*.*"+flightSuffix, func(e jetstream.BucketEntry) error {
		switch {
		case e.Synced:
			freed("")
		case e.Begun || !e.Gone:
		default:
			freed(strings.TrimSuffix(e.Key, flightSuffix))
		}
		return nil
	}))
}
