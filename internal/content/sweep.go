package content

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/jetstream"
)

// Stored describes a stored value for the sweep.
type Stored struct {
	Ref
	Time time.Time // when it was stored or renewed, by the server's clock
	Held bool      // it was renewed: for Hold it is kept, with everything to which it refers
	Refs []Ref     // to which it refers
	Used time.Time // the youngest Time of it and of all that refer to it, over any number of values

	seq   uint64 // of its entry
	depth int    // of references above it
}

// Usage returns the size of all values.
func (s Store) Usage(ctx context.Context) (jetstream.Usage, error) {
	return s.c.Usage(ctx, s.stream())
}

// List lists the values of all namespaces, the least recently used first. Of values
// that were last used at the same time, one follows those that refer to it.
func (s Store) List(ctx context.Context) ([]Stored, error) {
	var values []Stored
	src := jetstream.Source{Stream: s.stream(), Latest: true, Filters: []string{"$O." + s.bucket + ".M.*.*"}, Began: func() error {
		values = nil
		return nil
	}}
	err := s.c.ReadAll(ctx, src, func(m jetstream.Message) error {
		of := s
		of.namespace = strings.Split(m.Subject, ".")[3]
		if e, err := of.parseEntry(m); err == nil { // else this package did not write it
			values = append(values, Stored{Ref: Ref{of.namespace, e.Digest}, Time: m.Time, Held: e.Held, Refs: e.refs(), seq: e.seq})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the blobs: %w", err)
	}
	use(values, nil)
	return values, nil
}

// Drop removes a value, unless it was stored again after it was listed, and
// reports whether it did. It removes the entry first, by its sequence: from then
// on a writer stores the value again. Of the chunks it removes those that are older
// than the entry, so that it never removes what such a writer stores.
func (s Store) Drop(ctx context.Context, v Stored) (bool, error) {
	s.namespace = v.Namespace
	purged, err := s.c.PurgeBelow(ctx, s.stream(), s.entrySubject(v.Digest), v.seq+1)
	if err != nil {
		return false, fmt.Errorf("drop blob %s: %w", v.Digest, err)
	}
	if purged == 0 {
		return false, nil
	}
	_, err = s.c.PurgeBelow(ctx, s.stream(), s.entrySubject(v.Digest)+".>", v.seq)
	_, err2 := s.c.PurgeBelow(ctx, s.stream(), "$O."+s.bucket+".C."+s.namespace+"."+string(v.Digest)+".>", v.seq)
	return true, errors.Join(err, err2)
}
