package content

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/wire"
)

const (
	// segmentBytes is how long a segment is, except the last one: it is compressed, checked,
	// sent again and fetched again whole, and memory holds few of them.
	segmentBytes = 4 << 20

	// mostSegments bounds the segments of a value, and with them its entry. The
	// segments of a longer value are longer, up to longestSegment.
	mostSegments   = 2048
	longestSegment = 64 << 20
	mostBytes      = mostSegments * longestSegment // of a value

	// MostRefs bounds the references of a value: its entry is one message.
	MostRefs = 512

	leastChunk, mostChunk = 16 << 10, 1 << 20
)

// segment is a part of a stored value. It is also the body of the note that a
// segment is stored.
type segment struct {
	Chunk int       `json:"chunk"`           // bytes of each chunk but the last
	Sum   uint32    `json:"sum"`             // CRC-32C of its bytes as they are stored
	Short int       `json:"short,omitempty"` // bytes that are stored, in the block format of S2; 0 = it is stored as it is
	Time  time.Time `json:"time,omitzero"`   // when it was stored, by the writer's clock; in notes only
}

// entry is the entry of a value.
type entry struct {
	Digest   Digest    `json:"digest"`
	Size     int64     `json:"size"` // -1 = the value was found damaged
	Segments []segment `json:"segments"`
	Time     time.Time `json:"time"` // when the oldest bytes were stored, by the writer's clock
	Held     bool      `json:"held,omitempty"`
	Refs     []string  `json:"refs,omitempty"` // NAMESPACE/DIGEST of the values to which this one refers

	seq    uint64
	stored time.Time // the entry, by the server's clock
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segmentLength is the length of the segments of a value of size bytes.
func segmentLength(size int64) int64 {
	if size <= segmentBytes*mostSegments {
		return segmentBytes
	}
	return min((size/mostSegments+segmentBytes)/segmentBytes*segmentBytes, longestSegment)
}

func segmentsOf(size int64) int {
	each := segmentLength(size)
	return int((size + each - 1) / each)
}

// segmentSize is how many bytes of a value a segment holds.
func segmentSize(size int64, i int) int64 {
	each := segmentLength(size)
	return min(each, size-int64(i)*each)
}

// valid reports whether a segment can be read.
func (g *segment) valid() bool {
	return g.Chunk >= leastChunk && g.Chunk <= mostChunk && segmentBytes%g.Chunk == 0 && g.Short >= 0
}

// usable reports whether a stored value is whole and young enough not to expire
// while it is in use. A third of the age is left when all of what a value refers to
// was a third of the age old when the value was stored, which is now a third old.
func (s Store) usable(e *entry) bool { return e.Size >= 0 && time.Since(e.Time) < s.age/3 }

// parseEntry decodes an entry; ErrNotFound when it describes no value, or not that
// of its subject.
func (s Store) parseEntry(m jetstream.Message) (*entry, error) {
	e := &entry{seq: m.Seq, stored: m.Time}
	if err := json.Unmarshal(m.Data, e); err != nil {
		return nil, fmt.Errorf("%w: %.200s is not the entry of a value: %w", jetstream.ErrNotFound, m.Subject, err)
	}
	if !e.Digest.Valid() || m.Subject != s.entrySubject(e.Digest) {
		return nil, fmt.Errorf("%w: %.200s holds the entry of another value, %.100q", jetstream.ErrNotFound, m.Subject, e.Digest)
	}
	if e.Size < 0 {
		return nil, fmt.Errorf("%w: the stored copy of %s was damaged", jetstream.ErrNotFound, e.Digest)
	}
	wrong := e.Size > mostBytes || len(e.Segments) != segmentsOf(e.Size)
	for i, g := range e.Segments {
		wrong = wrong || !g.valid() || int64(g.Short) >= segmentSize(e.Size, i)
	}
	if wrong {
		return nil, fmt.Errorf("%w: the entry of %s contradicts itself", jetstream.ErrNotFound, e.Digest)
	}
	return e, nil
}

// refs returns the values to which an entry refers.
func (e *entry) refs() (refs []Ref) {
	for _, text := range e.Refs {
		namespace, digest, _ := strings.Cut(text, "/")
		if ValidNamespace(namespace) && Digest(digest).Valid() {
			refs = append(refs, Ref{namespace, Digest(digest)})
		}
	}
	return refs
}

// message is the message that stores an entry.
func (s Store) message(e *entry) (*nats.Msg, error) {
	text, err := json.Marshal(e)
	if err == nil && len(text) > s.c.MaxBody() {
		err = fmt.Errorf("the entry of a value of %d bytes with %d references is %w", e.Size, len(e.Refs), wire.ErrTooLarge)
	}
	return &nats.Msg{Subject: s.entrySubject(e.Digest), Data: text}, err
}

// find reads the entry of a value from any replica.
func (s Store) find(ctx context.Context, d Digest) (*entry, error) {
	found, err := s.get(ctx, []string{s.entrySubject(d)}, entryBytes)
	if err != nil {
		return nil, err
	}
	if found[0].Msg == nil {
		return nil, jetstream.ErrNotFound
	}
	return s.parseEntry(found[0])
}

// Condemn notes that the stored copy of a value is damaged, so that Have does not
// report it any more. It does not fail: without the permission, or when the value was
// stored again, it changes nothing.
func (s Store) Condemn(ctx context.Context, d Digest) {
	e, err := s.find(ctx, d)
	if err != nil {
		return
	}
	m, err := s.message(&entry{Digest: d, Size: -1, Time: e.Time})
	if err != nil {
		return
	}
	jetstream.ExpectLast(m, e.seq)
	_, _ = s.c.Store(ctx, m) // see above
}
