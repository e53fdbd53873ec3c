package content

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/internal/jetstream"
)

// ErrChanged reports that the bytes to store are not those that the digest names:
// their source has changed.
var ErrChanged = errors.New("the content has changed")

// Value describes a value to send.
type Value struct {
	Digest Digest
	Size   int64 // bytes
	// Unchecked: the digest is not the SHA-256 of the bytes. The reader of the value
	// with OpenUnchecked checks what it holds. The caller has compressed it.
	Unchecked bool
	Refs      []Ref // values that a sweep keeps as long as this one; at most MostRefs
}

// Send stores a value, whether it is stored or not, and returns how many bytes it has
// sent. It reads r once, and holds three segments in memory (12 MiB). It retries until
// ctx ends. Segments that an earlier call has stored within half a day are not sent
// again. The value exists once all of it is stored. It returns ErrChanged when r has
// other bytes.
func (s Store) Send(ctx context.Context, v Value, r io.Reader) (sent int64, err error) {
	if len(v.Refs) > MostRefs || v.Size > mostBytes {
		return 0, fmt.Errorf("store %d bytes with %d references in %s: %w for a value", v.Size, len(v.Refs), s.bucket, jetstream.ErrTooLarge)
	}
	n := &sending{s: s, v: v}
	if err := n.send(ctx, r); err != nil {
		return n.sent, fmt.Errorf("store %d bytes in %s: %w", v.Size, s.bucket, err)
	}
	return n.sent, nil
}

// sending is one Send.
type sending struct {
	s     Store
	v     Value
	notes []*segment // of the segments that are stored already; nil where none is known
	parts []segment
	short []byte // the buffer of a compressed segment
	sent  int64
}

func (n *sending) send(ctx context.Context, r io.Reader) error {
	count := segmentsOf(n.v.Size)
	n.parts, n.notes = make([]segment, count), make([]*segment, count)
	if count > 1 {
		if err := n.readNotes(ctx); err != nil {
			return err
		}
	}
	full, empty := make(chan []byte), make(chan []byte, 2) // the buffers: one is read while the other one is sent
	for range min(count, 2) {
		empty <- make([]byte, min(segmentLength(n.v.Size), n.v.Size))
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(full)
		return n.read(gctx, r, full, empty)
	})
	g.Go(func() error {
		i := 0
		for data := range full {
			if err := n.store(gctx, i, data); err != nil {
				return err
			}
			i++
			empty <- data[:cap(data)]
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return n.finish(ctx)
}

// read reads the segments into buffers, and checks the whole.
func (n *sending) read(ctx context.Context, r io.Reader, full chan<- []byte, empty <-chan []byte) error {
	hash := sha256.New()
	for left := n.v.Size; left > 0; {
		var buffer []byte
		select {
		case buffer = <-empty:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		buffer = buffer[:min(int64(len(buffer)), left)]
		if _, err := io.ReadFull(r, buffer); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: it has less than %d bytes", ErrChanged, n.v.Size)
		} else if err != nil {
			return fmt.Errorf("read the value to store: %w", err)
		}
		if !n.v.Unchecked {
			hash.Write(buffer)
		}
		left -= int64(len(buffer))
		select {
		case full <- buffer:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	var one [1]byte
	if _, err := io.ReadFull(r, one[:]); err == nil {
		return fmt.Errorf("%w: it has more than %d bytes", ErrChanged, n.v.Size)
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); !n.v.Unchecked && sum != string(n.v.Digest) {
		return fmt.Errorf("%w: its digest is %s, and not %s", ErrChanged, sum, n.v.Digest)
	}
	return nil
}

// readNotes reads which segments an earlier sending has stored. Notes from before the
// value was found damaged do not count.
func (n *sending) readNotes(ctx context.Context) error {
	subjects := make([]string, len(n.notes), len(n.notes)+1)
	for i := range subjects {
		subjects[i] = n.s.segmentSubject(n.v.Digest, i)
	}
	found, err := n.s.get(ctx, append(subjects, n.s.entrySubject(n.v.Digest)), entryBytes)
	if err != nil {
		return err
	}
	after := uint64(0)
	if m := found[len(n.notes)]; m.Msg != nil {
		e := new(entry)
		if json.Unmarshal(m.Data, e) == nil && e.Size < 0 {
			after = m.Seq
		}
	}
	for i, m := range found[:len(n.notes)] {
		g := new(segment)
		if m.Msg == nil || m.Seq < after || json.Unmarshal(m.Data, g) != nil {
			continue
		}
		if g.valid() && time.Since(g.Time) < Hold/2 {
			n.notes[i] = g
		}
	}
	return nil
}

// store stores one segment, unless it is stored.
func (n *sending) store(ctx context.Context, i int, data []byte) error {
	g := segment{Time: time.Now().UTC()}
	if !n.v.Unchecked {
		data, g.Short = n.compress(data)
	}
	g.Sum = crc32.Checksum(data, castagnoli)
	if note := n.notes[i]; note != nil && note.Sum == g.Sum && note.Short == g.Short {
		n.parts[i] = *note
		return nil
	}
	g.Chunk = n.s.chunkBytes(ctx)
	first := chunkNumber(n.v.Size, i, g.Chunk)
	var messages []*nats.Msg
	for chunk := range slices.Chunk(data, g.Chunk) {
		messages = append(messages, &nats.Msg{Subject: n.s.chunkSubject(n.v.Digest, g, first+len(messages)), Data: chunk})
	}
	if err := n.all(ctx, messages); err != nil {
		return err
	}
	n.sent += int64(len(data))
	n.parts[i] = g
	if len(n.parts) == 1 { // the entry tells
		return nil
	}
	note, err := json.Marshal(g)
	if err != nil {
		return err
	}
	return n.all(ctx, []*nats.Msg{{Subject: n.s.segmentSubject(n.v.Digest, i), Data: note}})
}

// leastCoded is how long a segment is that is worth to compress.
const leastCoded = 4 << 10

// compress returns a segment compressed, and how long it is then; or as it is, and 0,
// when that saves less than an eighth.
func (n *sending) compress(data []byte) ([]byte, int) {
	if len(data) < leastCoded {
		return data, 0
	}
	if most := s2.MaxEncodedLen(len(data)); cap(n.short) < most {
		n.short = make([]byte, most)
	}
	short := s2.Encode(n.short[:cap(n.short)], data)
	if len(short) > len(data)-len(data)/8 {
		return data, 0
	}
	return short, len(short)
}

// all stores messages; every error is one.
func (n *sending) all(ctx context.Context, messages []*nats.Msg) error {
	results, err := n.s.storeAll(ctx, messages)
	if err != nil {
		return err
	}
	return errors.Join(results...)
}

// finish stores the entry, from which on the value exists.
func (n *sending) finish(ctx context.Context) error {
	e := &entry{Digest: n.v.Digest, Size: n.v.Size, Time: time.Now().UTC()}
	for _, g := range n.parts {
		if g.Time.Before(e.Time) {
			e.Time = g.Time
		}
		e.Segments = append(e.Segments, segment{Chunk: g.Chunk, Sum: g.Sum, Short: g.Short})
	}
	for _, ref := range n.v.Refs {
		e.Refs = append(e.Refs, ref.Namespace+"/"+string(ref.Digest))
	}
	m, err := n.s.message(e)
	if err != nil {
		return err
	}
	return n.all(ctx, []*nats.Msg{m})
}

// chunkBytes is the size of chunks: a power of two, so that it divides a segment.
func (s Store) chunkBytes(ctx context.Context) int {
	most, n := s.c.ChunkBytes(ctx), leastChunk
	for n*2 <= min(most, mostChunk) {
		n *= 2
	}
	return n
}

// chunkNumber is the number of the first chunk of a segment.
func chunkNumber(size int64, segment, each int) int {
	return int(int64(segment) * segmentLength(size) / int64(each))
}
