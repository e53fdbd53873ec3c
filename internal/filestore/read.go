package filestore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/modpipe/modpipe/internal/tree"
)

// Reader reads one content and checks it. Its bytes are what was asked for only
// when Read has returned io.EOF: in place of it, Read returns ErrMissing for
// damaged content. One goroutine uses it.
type Reader struct {
	store  *Store
	ctx    context.Context //nolint:containedctx // Read has no parameter for it
	digest tree.Digest
	file   *os.File
	info   fs.FileInfo
	hash   hash.Hash
	end    error // what Read returns after the last byte; nil before
}

// Open opens content for reading. ErrMissing reports that the store does not have
// it. ctx ends the reader.
func (s *Store) Open(ctx context.Context, d tree.Digest) (*Reader, error) {
	f, info, err := s.open(s.path(d))
	if err != nil {
		return nil, fmt.Errorf("read %v: %w", d, err)
	}
	return &Reader{store: s, ctx: ctx, digest: d, file: f, info: info, hash: sha256.New()}, nil
}

// open opens a file of the store and records the use.
func (s *Store) open(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, ErrMissing
	}
	if err != nil {
		return nil, nil, s.failed("open a file", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file; remove it")
	}
	if now := s.now(); err == nil && now.Sub(info.ModTime()) >= s.fresh {
		if err := os.Chtimes(path, now, now); err == nil {
			info, _ = f.Stat()
		}
	}
	if err != nil {
		return nil, nil, errors.Join(s.failed("open "+path, err), f.Close())
	}
	return f, info, nil
}

// Size returns the length of the content in bytes, which is not verified yet.
func (r *Reader) Size() int64 { return r.info.Size() }

func (r *Reader) Read(p []byte) (int, error) {
	if r.end != nil {
		return 0, r.end
	}
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	n, err := r.file.Read(p)
	r.hash.Write(p[:n])
	if err == nil {
		return n, nil
	}
	r.end = err
	if !errors.Is(err, io.EOF) {
		r.end = r.store.failed("read a file", err)
	} else if tree.Digest(r.hash.Sum(nil)) != r.digest {
		r.end = r.store.damaged(r.ctx, r.digest, r.info)
	}
	return n, r.end
}

// Close ends the reader.
func (r *Reader) Close() error { return r.file.Close() }

// damaged removes content whose bytes do not have its digest.
func (s *Store) damaged(ctx context.Context, d tree.Digest, info fs.FileInfo) error {
	err := fmt.Errorf("read %v: the file was damaged on disk and has been removed: %w", d, ErrMissing)
	if trouble := s.removeIfSame(context.WithoutCancel(ctx), s.path(d), info); trouble != nil {
		return errors.Join(err, s.failed("remove a damaged file", trouble))
	}
	return err
}

// stamp is what changes whenever the file changes.
type stamp struct {
	device, inode uint64
	size          int64
	mtime, ctime  int64 // in nanoseconds
}

// settled is how long after a change of a file another one may leave the same
// times: those of coarse file systems have whole seconds.
const settled = time.Second

// mostVerified bounds the memory of verified, at about 100 bytes an entry.
const mostVerified = 1 << 17

// verified remembers which files this process has read and found undamaged. It
// is kept in memory only: after a power loss, a file may have lost its bytes and
// kept its times.
type verified struct {
	settled time.Duration // the constant; a seam of tests

	mu    sync.Mutex
	files map[tree.Digest]stamp
}

func (v *verified) has(d tree.Digest, s stamp) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	known, ok := v.files[d]
	return ok && known == s
}

// add remembers the stamp that a file had before it was read. begun is the time
// at which reading began.
func (v *verified) add(d tree.Digest, s stamp, begun time.Time) {
	if begun.Sub(time.Unix(0, s.ctime)) < v.settled {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.files == nil || len(v.files) >= mostVerified {
		v.files = map[tree.Digest]stamp{}
	}
	v.files[d] = s
}

// verify reads an open file of the store from its beginning, unless this process
// has read it since it last changed.
func (s *Store) verify(ctx context.Context, d tree.Digest, f *os.File, info fs.FileInfo) error {
	st, ok := stampOf(info)
	if ok && s.verified.has(d, st) {
		return nil
	}
	begun := time.Now()
	h := sha256.New()
	if err := copyTo(ctx, h, io.NewSectionReader(f, 0, 1<<62)); err != nil {
		return err
	}
	if tree.Digest(h.Sum(nil)) != d {
		return s.damaged(ctx, d, info)
	}
	if ok {
		s.verified.add(d, st, begun)
	}
	return nil
}
