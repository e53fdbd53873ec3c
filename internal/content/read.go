package content

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/s2"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/wire"
)

// ErrDamaged reports a value of which a part is missing or wrong, also after it was
// read again. It is an ErrNotFound: the value cannot be used.
var ErrDamaged = fmt.Errorf("%w: the stored copy is damaged", jetstream.ErrNotFound)

// damageTries is how often a damaged segment is read.
const damageTries = 3

// Open returns a reader of a value. The reader returns an error instead of io.EOF
// when the bytes do not have the digest. It is an io.WriterTo, too, which writes whole
// segments. It uses ctx until it is closed. Open returns ErrNotFound, or
// wire.ErrMalformed for an invalid digest. It holds three segments in memory (12 MiB).
func (s Store) Open(ctx context.Context, d Digest) (io.ReadCloser, error) {
	return s.open(ctx, d, true)
}

// OpenUnchecked is Open for a value whose digest is not that of its bytes. The caller
// checks what it reads.
func (s Store) OpenUnchecked(ctx context.Context, d Digest) (io.ReadCloser, error) {
	return s.open(ctx, d, false)
}

func (s Store) open(ctx context.Context, d Digest, check bool) (io.ReadCloser, error) {
	r, err := s.start(ctx, d, check)
	if err != nil {
		return nil, fmt.Errorf("read blob %.100s: %w", d, err)
	}
	return &stream{ctx: ctx, r: r}, nil
}

// Bytes reads a value of at most limit bytes. It returns ErrNotFound, ErrTooLarge,
// or wire.ErrMalformed for an invalid digest.
func (s Store) Bytes(ctx context.Context, d Digest, limit int) ([]byte, error) {
	data, _, err := s.bytes(ctx, d, limit, true)
	return data, err
}

// BytesUnchecked is Bytes for a value whose digest is not that of its bytes: the
// caller checks what it reads. It also returns the references of the value, which
// nothing checks.
func (s Store) BytesUnchecked(ctx context.Context, d Digest, limit int) ([]byte, []Ref, error) {
	return s.bytes(ctx, d, limit, false)
}

func (s Store) bytes(ctx context.Context, d Digest, limit int, check bool) (data []byte, refs []Ref, err error) {
	r, err := s.start(ctx, d, check)
	if err == nil {
		data, err = r.all(ctx, limit)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read blob %.100s: %w", d, err)
	}
	return data, r.entry.refs(), nil
}

// stream implements Open's reader.
type stream struct {
	ctx  context.Context //nolint:containedctx // Read has none
	r    *reader
	part []byte // read from the store, and not yet by the caller
	err  error
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	s.fill()
	n := copy(p, s.part)
	s.part = s.part[n:]
	if n > 0 {
		return n, nil
	}
	return 0, s.err
}

// fill reads a segment when the caller has used up the last one.
func (s *stream) fill() {
	for len(s.part) == 0 && s.err == nil {
		s.part, s.err = s.r.next(s.ctx)
		if s.err != nil && !errors.Is(s.err, io.EOF) {
			s.err = fmt.Errorf("read blob %s: %w", s.r.digest, s.err)
		}
	}
}

// WriteTo implements io.WriterTo.
func (s *stream) WriteTo(w io.Writer) (written int64, err error) {
	for {
		s.fill()
		if len(s.part) == 0 {
			break
		}
		n, err := w.Write(s.part)
		written += int64(n)
		s.part = s.part[n:]
		if err != nil {
			return written, err
		}
	}
	if errors.Is(s.err, io.EOF) {
		return written, nil
	}
	return written, s.err
}

// Close ends reading.
func (s *stream) Close() error {
	s.part, s.err = nil, io.ErrClosedPipe
	return nil
}

// reader reads one value, segment by segment. While the caller uses one, the next one
// is on its way.
type reader struct {
	s      Store
	digest Digest
	check  bool
	entry  *entry
	read   int // segments
	bytes  int64
	ahead  *arrival // of segment read; nil = it was not asked for
	spare  []byte   // the buffer of a segment that was used
	last   []byte   // the segment that the caller uses, as it arrived; nil when it was compressed
	plain  []byte   // the buffer of a segment that was compressed
	hash   hash.Hash
}

// start finds the entry of a value.
func (s Store) start(ctx context.Context, d Digest, check bool) (*reader, error) {
	if !d.Valid() {
		return nil, fmt.Errorf("%w: it is not a digest", wire.ErrMalformed)
	}
	r := &reader{s: s, digest: d, check: check, hash: sha256.New()}
	err := s.patiently(ctx, func() (err error) {
		r.entry, err = s.find(ctx, d)
		return err
	})
	if errors.Is(err, jetstream.ErrNotFound) {
		err = fmt.Errorf("%w (blobs are kept for %d days, and while there is room)", err, int(s.age.Hours()/24))
	}
	return r, err
}

// all reads a value whole. Memory grows with the bytes that arrive, not with the
// size that the entry claims.
func (r *reader) all(ctx context.Context, limit int) (data []byte, err error) {
	for {
		if r.entry.Size > int64(limit) {
			return nil, fmt.Errorf("%w: %d bytes, at most %d are read", jetstream.ErrTooLarge, r.entry.Size, limit)
		}
		part, err := r.next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return data, nil
		case err != nil:
			return nil, err
		case len(r.entry.Segments) == 1:
			data = part
		default:
			data = append(data, part...)
		}
	}
}

// next reads the next segment, which the caller uses until it calls next again. After
// the last one it returns io.EOF if the digest is right.
func (r *reader) next(ctx context.Context) ([]byte, error) {
	if r.last != nil && r.spare == nil {
		r.spare = r.last
	}
	r.last = nil
	if r.read >= len(r.entry.Segments) {
		if sum := hex.EncodeToString(r.hash.Sum(nil)); r.check && sum != string(r.digest) {
			return nil, fmt.Errorf("%w: digest mismatch after %d bytes", ErrDamaged, r.bytes)
		}
		return nil, io.EOF
	}
	part, err := r.segment(ctx)
	if err != nil {
		return nil, err
	}
	i := r.read
	r.read++
	if r.read < len(r.entry.Segments) {
		r.ahead = r.ask(ctx)
	}
	if r.entry.Segments[i].Short == 0 {
		r.last = part
	} else if part, err = r.expand(part, segmentSize(r.entry.Size, i)); err != nil {
		return nil, err
	}
	r.bytes += int64(len(part))
	if r.check {
		r.hash.Write(part)
	}
	return part, nil
}

// expand returns a compressed segment as it was, of so many bytes.
func (r *reader) expand(short []byte, size int64) ([]byte, error) {
	n, err := s2.DecodedLen(short)
	if err == nil && int64(n) != size {
		err = fmt.Errorf("a part holds %d bytes instead of %d", n, size)
	}
	if err == nil {
		r.plain, err = s2.Decode(r.plain[:cap(r.plain)], short)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if r.spare == nil {
		r.spare = short[:0]
	}
	return r.plain, nil
}

// segment returns the next segment as it is stored. It reads a damaged one again: the replica may be
// behind, or another writer has stored the value again.
func (r *reader) segment(ctx context.Context) (part []byte, err error) {
	for try := 1; ; try++ {
		err := r.s.patiently(ctx, func() error {
			a := r.ahead
			r.ahead = nil
			if a == nil {
				a = r.ask(ctx)
			}
			part, err = a.wait(ctx)
			return err
		})
		if err != nil && !errors.Is(err, jetstream.ErrNotFound) && !jetstream.Transient(err) {
			return nil, err
		}
		if err == nil && crc32.Checksum(part, castagnoli) == r.entry.Segments[r.read].Sum {
			return part, nil
		}
		if try == damageTries {
			return nil, r.damaged(err)
		}
		if err := r.again(ctx); err != nil {
			return nil, err
		}
	}
}

func (r *reader) damaged(err error) error {
	if err == nil {
		err = errors.New("they do not have their check sum")
	}
	at := int64(r.read) * segmentLength(r.entry.Size)
	return fmt.Errorf("%w: the bytes from %d on, of %d: %w", ErrDamaged, at, r.entry.Size, err)
}

// again waits for the connection, and reads the entry again.
func (r *reader) again(ctx context.Context) error {
	e, err := r.s.find(ctx, r.digest)
	if err == nil && e.Size != r.entry.Size && r.read > 0 {
		err = fmt.Errorf("%w: it was stored again with %d bytes instead of %d", ErrDamaged, e.Size, r.entry.Size)
	}
	if errors.Is(err, jetstream.ErrNotFound) {
		return err
	}
	if err == nil {
		r.entry = e
	}
	return err
}
