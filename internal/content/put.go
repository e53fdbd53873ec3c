package content

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/internal/ident"
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
	return v.digest(), s.put(ctx, v)
}

// PutBytes is Put for a value in memory.
func (s Store) PutBytes(ctx context.Context, data []byte) (Digest, error) {
	v := &value{in: bytes.NewReader(data), size: int64(len(data)), sum: sha256.Sum256(data)}
	return v.digest(), s.put(ctx, v)
}

// value is one that is to be stored.
type value struct {
	in   io.ReadSeeker
	size int64
	sum  [sha256.Size]byte
}

func (v *value) digest() Digest { return Digest(hex.EncodeToString(v.sum[:])) }

// measure reads a value for its size and its digest.
func measure(in io.ReadSeeker) (*value, error) {
	v := &value{in: in}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	h := sha256.New()
	var err error
	if v.size, err = io.Copy(h, in); err != nil {
		return nil, err
	}
	h.Sum(v.sum[:0])
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

func (s Store) put(ctx context.Context, v *value) error {
	_, err := jetstream.RetryWhenFull(ctx, s.c, s.full, s.stream(), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.putOnce(ctx, v)
	})
	if err != nil {
		return fmt.Errorf("store %d bytes in %s: %w", v.size, s.bucket, err)
	}
	return nil
}

// putOnce stores the chunks, and then the entry that makes them a value. If the
// value exists, it renews the entry instead, because the sweep drops the oldest.
func (s Store) putOnce(ctx context.Context, v *value) error {
	old, err := s.readEntry(ctx, v.digest())
	switch {
	case err == nil && s.usable(old, v.size):
		if exists, err := s.touch(ctx, v.digest(), old); exists || err != nil {
			return err
		}
	case err != nil && !errors.Is(err, jetstream.ErrNotFound):
		return err
	}
	id := ident.New()
	err = s.send(ctx, id, v)
	switch {
	case err != nil && !errors.Is(err, jetstream.ErrNoAnswer) && !errors.Is(err, jetstream.ErrLost): // else the entry may be stored
		s.dropChunks(id)
	case err == nil && old != nil && idPattern.MatchString(old.NUID):
		s.dropChunks(old.NUID)
	}
	return err
}

// send stores a value as new chunks.
func (s Store) send(ctx context.Context, id string, v *value) error {
	chunks, each, err := s.c.Upload(ctx, s.chunkSubject(id), v.in, v.size)
	if err != nil {
		return err
	}
	return s.writeEntry(ctx, v.digest(), &natsjs.ObjectInfo{
		ObjectMeta: natsjs.ObjectMeta{Name: string(v.digest()), Opts: &natsjs.ObjectMetaOptions{ChunkSize: uint32(each)}}, //nolint:gosec // a chunk is short
		Bucket:     s.bucket, NUID: id, Size: uint64(v.size), Chunks: uint32(chunks),                                      //nolint:gosec // not negative
		Digest: "SHA-256=" + base64.URLEncoding.EncodeToString(v.sum[:]), ModTime: time.Now().UTC(),
	}, anySequence)
}

// dropChunks removes chunks that no entry names. It does not wait: chunks that
// remain expire by age.
func (s Store) dropChunks(id string) { s.c.PurgeSoon(s.stream(), s.chunkSubject(id)) }
