package content

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/modpipe/modpipe/internal/jetstream"
)

// Stored describes a stored value for the sweep.
type Stored struct {
	Digest Digest
	Time   time.Time // when it was stored or renewed, by the server's clock

	id  string // of its chunks
	seq uint64 // of its entry
}

// Usage returns the size of all values.
func (s Store) Usage(ctx context.Context) (jetstream.Usage, error) {
	return s.c.Usage(ctx, s.stream())
}

// List lists the values, the least recently stored first.
func (s Store) List(ctx context.Context) ([]Stored, error) {
	var values []Stored
	src := jetstream.Source{Stream: s.stream(), Filters: []string{"$O." + s.bucket + ".M.>"}, Began: func() error {
		values = nil
		return nil
	}}
	err := s.c.ReadAll(ctx, src, func(m jetstream.Message) error {
		if e, err := s.parseEntry(m); err == nil && !e.Deleted { // else this package did not write it
			values = append(values, Stored{Digest: Digest(e.Name), Time: m.Time, id: e.NUID, seq: e.seq})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the blobs: %w", err)
	}
	slices.SortFunc(values, func(a, b Stored) int { return a.Time.Compare(b.Time) })
	return values, nil
}

// Drop removes a value, unless it was stored again after it was listed, and
// reports whether it did. It removes the entry first, by its sequence: from then
// on a writer stores the value again.
func (s Store) Drop(ctx context.Context, v Stored) (bool, error) {
	purged, err := s.c.PurgeBelow(ctx, s.stream(), s.entrySubject(string(v.Digest)), v.seq+1)
	if err != nil {
		return false, fmt.Errorf("drop blob %s: %w", v.Digest, err)
	}
	if purged == 0 || v.id == "" {
		return false, nil
	}
	return true, s.c.Purge(ctx, s.stream(), s.chunkSubject(v.id))
}

// Renew renews a value of size bytes, at most limit, as if it were stored now, or
// returns ErrNotFound. It fails while the store is full.
func (s Store) Renew(ctx context.Context, d Digest, size int64, limit int) error {
	s = s.WhenFull(jetstream.FailWhenFull)
	young, err := jetstream.RetryWhenFull(ctx, s.c, s.full, s.stream(), func(ctx context.Context) (bool, error) {
		old, err := s.readEntry(ctx, d)
		if err != nil || !s.usable(old, size) {
			return false, err
		}
		return s.touch(ctx, d, old)
	})
	if err != nil || young {
		return err
	}
	data, err := s.Bytes(ctx, d, limit)
	if err == nil {
		_, err = s.Put(ctx, bytes.NewReader(data))
	}
	return err
}
