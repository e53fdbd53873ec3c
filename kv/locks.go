package kv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// lockMarkerTTL is how long a removed entry leaves a marker.
const lockMarkerTTL = time.Hour

// Locks is the bucket of the keys and limits that all runs share (mp-locks),
// one entry for each that has holders. Entries do not expire: the log of a holder's
// run, which the caller reads, decides whether the holder still counts.
type Locks struct{ bucket *jetstream.Bucket }

// OpenLocks opens or creates it.
func OpenLocks(ctx context.Context, c *jetstream.Conn) (*Locks, error) {
	b, err := c.OpenBucket(ctx, jetstream.BucketConfig{Name: streams.Bucket("locks"), MarkerTTL: lockMarkerTTL})
	if err != nil {
		return nil, err
	}
	return &Locks{b}, nil
}

// lockKey is the key of a lock in the bucket. It has a hash, because names of locks
// are free text.
func lockKey(l jobs.Lock) string {
	kind := "key"
	if l.Limit {
		kind = "limit"
	}
	sum := sha256.Sum256([]byte(kind + " " + l.Name))
	return kind + "-" + hex.EncodeToString(sum[:16])
}

// Holders reads the holders of a lock.
func (l *Locks) Holders(ctx context.Context, lock jobs.Lock) ([]jobs.Holder, error) {
	entry, _, err := l.Read(ctx, lock)
	return entry.Holders, err
}

// Read returns a lock's entry and the revision that a change of it expects. Without
// an entry, the result has no holders. An unreadable entry, which a newer version has
// written, is full of holders that match no attempt. Callers wait for it like for any
// other, and never write it.
func (l *Locks) Read(ctx context.Context, lock jobs.Lock) (jobs.LockEntry, uint64, error) {
	none := jobs.LockEntry{Name: lock.Name, Limit: lock.Limit}
	last, err := l.bucket.Last(ctx, lockKey(lock))
	if errors.Is(err, jetstream.ErrNotFound) {
		return none, last.Revision, nil
	}
	if err != nil {
		return none, 0, fmt.Errorf("read the holders of %s: %w", lock.Name, err)
	}
	entry, err := decode[jobs.LockEntry](last)
	if err != nil {
		entry = unread(lock, err)
	}
	return entry, last.Revision, nil
}

// Write stores a lock's entry, or removes one without holders, if its last
// revision is the given one. It reports false otherwise: another write came first,
// perhaps an unanswered first try of this call.
func (l *Locks) Write(ctx context.Context, lock jobs.Lock, entry jobs.LockEntry, revision uint64) (bool, error) {
	if entry.Name == "" {
		return false, fmt.Errorf("write the holders of %s: this version cannot read the stored entry", lock.Name)
	}
	err := l.write(ctx, lock, entry, revision)
	if errors.Is(err, jetstream.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

func (l *Locks) write(ctx context.Context, lock jobs.Lock, entry jobs.LockEntry, revision uint64) error {
	if len(entry.Holders) == 0 {
		return l.bucket.DeleteAt(ctx, lockKey(lock), revision)
	}
	value, err := jobs.Marshal(&entry)
	if err != nil {
		return err
	}
	_, err = l.bucket.Update(ctx, lockKey(lock), value, revision)
	return err
}

// Watch calls f when it starts, and whenever one of the locks may have become free,
// until ctx ends (then it returns nil). It restarts after reconnects.
func (l *Locks) Watch(ctx context.Context, locks func() []jobs.Lock, f func()) error {
	return ended(ctx, l.bucket.Watch(ctx, func(e jetstream.BucketEntry) error {
		switch {
		case e.Synced:
			f()
		case e.Begun:
		default:
			if roomIn(e, locks()) {
				f()
			}
		}
		return nil
	}))
}

// roomIn reports whether an entry belongs to one of the locks, and is not full.
func roomIn(e jetstream.BucketEntry, locks []jobs.Lock) bool {
	i := slices.IndexFunc(locks, func(l jobs.Lock) bool { return lockKey(l) == e.Key })
	if i < 0 || e.Gone {
		return i >= 0
	}
	entry, err := decode[jobs.LockEntry](e)
	return err == nil && len(entry.Holders) < locks[i].Max
}
