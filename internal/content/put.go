package content

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/modpipe/modpipe/internal/jetstream"
)

// Put stores a value unless it is already stored, and returns its digest. It
// retries until ctx ends.
//
// It reads r twice or more, if r is an io.Seeker, and else through a temporary
// file, because the digest decides whether anything has to be sent.
func (s Store) Put(ctx context.Context, r io.Reader) (Digest, error) {
	in, done, err := seekable(r)
	if err != nil {
		return "", fmt.Errorf("store a value in %s: %w", s.bucket, err)
	}
	defer done()
	v, err := measure(in)
	if err != nil {
		return "", fmt.Errorf("store a value in %s: %w", s.bucket, err)
	}
	return v.Digest, s.put(ctx, v, in)
}

// PutBytes is Put for a value in memory.
func (s Store) PutBytes(ctx context.Context, data []byte) (Digest, error) {
	v := Value{Digest: DigestOf(data), Size: int64(len(data))}
	return v.Digest, s.put(ctx, v, bytes.NewReader(data))
}

// DigestOf returns the digest of a value.
func DigestOf(data []byte) Digest {
	sum := sha256.Sum256(data)
	return Digest(hex.EncodeToString(sum[:]))
}

// measure reads a value for its size and its digest.
func measure(in io.ReadSeeker) (v Value, err error) {
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return v, err
	}
	h := sha256.New()
	if v.Size, err = io.Copy(h, in); err != nil {
		return v, err
	}
	v.Digest = Digest(hex.EncodeToString(h.Sum(nil)))
	return v, nil
}

// seekable returns r, or a temporary file with its content. done removes the file.
func seekable(r io.Reader) (in io.ReadSeeker, done func(), err error) {
	if in, ok := r.(io.ReadSeeker); ok {
		return in, func() {}, nil
	}
	f, err := os.CreateTemp("", "modpipe-content-")
	if err != nil {
		return nil, nil, err
	}
	done = func() {
		_ = f.Close() // nothing reads it any more
		_ = os.Remove(f.Name())
	}
	if _, err := io.Copy(f, r); err != nil {
		done()
		return nil, nil, err
	}
	return f, done, nil
}

// put stores a value unless it is stored. Then it renews it instead, because a sweep
// drops the oldest.
func (s Store) put(ctx context.Context, v Value, in io.ReadSeeker) error {
	have, err := s.Have(ctx, []Digest{v.Digest})
	if err != nil || len(have) > 0 {
		return err
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("store a value in %s: %w", s.bucket, err)
	}
	_, err = s.Send(ctx, v, in)
	return err
}

// Renew renews a value of at most limit bytes, as if it were stored now, or returns
// jetstream.ErrNotFound. It fails while the store is full.
func (s Store) Renew(ctx context.Context, d Digest, limit int) error {
	have, err := s.WhenFull(jetstream.FailWhenFull).Have(ctx, []Digest{d})
	if err != nil || len(have) > 0 {
		return err
	}
	data, err := s.Bytes(ctx, d, limit) // it is too old to be renewed
	if err != nil {
		return err
	}
	_, err = s.WhenFull(jetstream.FailWhenFull).Send(ctx, Value{Digest: d, Size: int64(len(data))}, bytes.NewReader(data))
	return err
}
