package content

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/internal/wire"
)

const (
	// portion is how many bytes of a value are read with one consumer, and held in
	// memory.
	portion = 16 << 20

	// patience is how long a cluster is asked again for a value that it reports
	// missing: a leader that was paused and replaced answers from its old state
	// until it learns of the new leader.
	patience = 5 * time.Second
)

// Open returns a reader of a value. The reader returns an error instead of io.EOF
// when the bytes do not have the digest. It uses ctx until it is closed. Open
// returns ErrNotFound, or wire.ErrMalformed for an invalid digest.
func (s Store) Open(ctx context.Context, d Digest) (io.ReadCloser, error) {
	r := s.reader(d)
	if err := r.start(ctx); err != nil {
		return nil, fmt.Errorf("read blob %.100s: %w", d, err)
	}
	return &stream{ctx: ctx, r: r}, nil
}

// Bytes reads a value of at most limit bytes. It returns ErrNotFound, ErrTooLarge,
// or wire.ErrMalformed for an invalid digest.
func (s Store) Bytes(ctx context.Context, d Digest, limit int) ([]byte, error) {
	r := s.reader(d)
	data, err := r.all(ctx, limit)
	if err != nil {
		return nil, fmt.Errorf("read blob %.100s: %w", d, err)
	}
	return data, nil
}

func (s Store) reader(d Digest) *reader { return &reader{s: s, digest: d, hash: sha256.New()} }

// stream implements Open's reader.
type stream struct {
	ctx  context.Context //nolint:containedctx // Read has none
	r    *reader
	part []byte // read from the store, and not yet by the caller
	err  error
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	for len(s.part) == 0 && s.err == nil {
		s.part, s.err = s.r.next(s.ctx)
		if s.err != nil && !errors.Is(s.err, io.EOF) {
			s.err = fmt.Errorf("read blob %s: %w", s.r.digest, s.err)
		}
	}
	n := copy(p, s.part)
	s.part = s.part[n:]
	if n > 0 {
		return n, nil
	}
	return 0, s.err
}

// Close ends reading.
func (s *stream) Close() error {
	s.part, s.err = nil, io.ErrClosedPipe
	return nil
}

// reader reads one value, in portions.
type reader struct {
	s      Store
	digest Digest
	entry  *entry
	after  uint64 // sequence of the last chunk that was read of this copy
	skip   int64  // bytes of this copy that were read of an earlier one
	read   int64
	hash   hash.Hash
}

// all reads a value whole. Memory grows with the bytes that arrive, not with the
// size that the entry claims.
func (r *reader) all(ctx context.Context, limit int) (data []byte, err error) {
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	for {
		if r.entry.Size > uint64(limit) { //nolint:gosec // a limit is never negative
			return nil, fmt.Errorf("%w: %d bytes, at most %d are read", jetstream.ErrTooLarge, r.entry.Size, limit)
		}
		part, err := r.next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return data, nil
		case err != nil:
			return nil, err
		case data == nil:
			data = part
		default:
			data = append(data, part...)
		}
	}
}

// start finds the value.
func (r *reader) start(ctx context.Context) error {
	if !r.digest.Valid() {
		return fmt.Errorf("%w: it is not a digest", wire.ErrMalformed)
	}
	return r.s.patiently(ctx, func() (err error) {
		r.entry, err = r.find(ctx)
		return err
	})
}

// patiently repeats f while a cluster may report a value missing by mistake.
func (s Store) patiently(ctx context.Context, f func() error) error {
	began := time.Now()
	for backoff := jetstream.NewBackOff(); ; {
		err := f()
		if !errors.Is(err, jetstream.ErrNotFound) || time.Since(began) > patience || !s.replicated(ctx) || pause.For(ctx, backoff.NextBackOff()) != nil {
			return err
		}
	}
}

func (s Store) replicated(ctx context.Context) bool {
	info, err := s.c.StreamInfo(ctx, s.stream())
	return err == nil && info.Config.Replicas > 1
}

// find reads the entry of the value.
func (r *reader) find(ctx context.Context) (*entry, error) {
	m, err := r.s.c.Last(ctx, r.s.stream(), r.s.entrySubject(string(r.digest)))
	var e *entry
	if err == nil {
		e, err = r.s.parseEntry(m)
	} else if errors.Is(err, jetstream.ErrNotFound) {
		err = jetstream.ErrNotFound // without the subject of the entry
	}
	if err == nil && e.Deleted {
		err = jetstream.ErrNotFound
	}
	if errors.Is(err, jetstream.ErrNotFound) {
		return nil, fmt.Errorf("%w (blobs are kept for %d days, and while there is room)", err, int(r.s.age.Hours()/24))
	}
	return e, err
}

// next reads the next portion. After the last one it returns io.EOF if the digest
// is right.
func (r *reader) next(ctx context.Context) (part []byte, err error) {
	if uint64(r.read) >= r.entry.Size { //nolint:gosec // not negative
		if sum := hex.EncodeToString(r.hash.Sum(nil)); sum != string(r.digest) {
			return nil, fmt.Errorf("%w: digest mismatch after %d bytes (the stored copy is damaged)", jetstream.ErrNotFound, r.read)
		}
		return nil, io.EOF
	}
	err = r.s.patiently(ctx, func() error {
		part, err = r.portion(ctx)
		if err != nil || len(part) > 0 {
			return err
		}
		return r.turn(ctx)
	})
	if err == nil && len(part) == 0 { // of another copy
		return r.next(ctx)
	}
	return part, err
}

// turn continues with the copy that was stored in the meantime, because storing a
// value again drops the chunks of the earlier copy.
func (r *reader) turn(ctx context.Context) error {
	e, err := r.find(ctx)
	if err != nil {
		return err
	}
	if e.NUID == r.entry.NUID {
		return fmt.Errorf("%w: only %d of its %d bytes are stored", jetstream.ErrNotFound, r.read, e.Size)
	}
	r.entry, r.after, r.skip = e, 0, r.read
	return nil
}

// portion reads the next bytes of the present copy; nothing when no more of it is
// stored. The replica that sends the chunks may be behind; then the leader knows of
// more.
func (r *reader) portion(ctx context.Context) (part []byte, err error) {
	subject := r.s.chunkSubject(r.entry.NUID)
	want := int(min(r.entry.Size-uint64(r.read), portion)) //nolint:gosec // at most portion
	src := jetstream.Source{Stream: r.s.stream(), Bulk: true, Filters: []string{subject}, Verified: true}
	if r.entry.Opts != nil {
		src.MessageBytes = int(r.entry.Opts.ChunkSize)
	}
	for backoff := jetstream.NewBackOff(); ; {
		src.After, src.Bytes = r.after, want-len(part)+int(r.skip)
		err := r.s.c.ReadAll(ctx, src, func(m jetstream.Message) error {
			part = append(part, r.fresh(m)...)
			if len(part) >= want {
				return jetstream.ErrEnough
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(part) >= want {
			break
		}
		newest, err := r.s.c.Last(ctx, r.s.stream(), subject)
		if errors.Is(err, jetstream.ErrNotFound) || err == nil && newest.Seq <= r.after { // nothing more is stored
			break
		}
		if err != nil {
			return nil, err
		}
		if err := pause.For(ctx, backoff.NextBackOff()); err != nil {
			return nil, err
		}
	}
	r.hash.Write(part)
	r.read += int64(len(part))
	return part, nil
}

// fresh returns the bytes of a chunk that were not read of an earlier copy.
func (r *reader) fresh(m jetstream.Message) []byte {
	r.after = m.Seq
	n := min(r.skip, int64(len(m.Data)))
	r.skip -= n
	return m.Data[n:]
}
