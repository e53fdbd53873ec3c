package tree

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// maxReads is how often a file that changes while it is read is read.
const maxReads = 3

// errChanged tells read that a file has to be read again.
var errChanged = errors.New("it changed while it was read")

// file takes a regular file: from the index, or by a goroutine that reads it.
func (t *taker) file(ctx context.Context, dir *place, name, path string, info fs.FileInfo) {
	s := stampOf(info)
	if d, ok := t.opts.Index.lookup(path, s); ok && (t.opts.Keep == nil || t.opts.Keep.Has(d)) {
		t.add(File{Path: path, Kind: kindOf(info), Size: s.size, Digest: d})
		return
	}
	dir.hold()
	t.group.Go(func() error {
		return errors.Join(t.read(ctx, dir, name, path, info), dir.release())
	})
}

func kindOf(info fs.FileInfo) Kind {
	if info.Mode()&0o100 != 0 {
		return Executable
	}
	return Regular
}

// read reads a file until it holds still, and adds it.
func (t *taker) read(ctx context.Context, dir *place, name, path string, info fs.FileInfo) error {
	for try := 1; ; try++ {
		f, err := t.readOnce(ctx, dir, name, path, info)
		switch {
		case err == nil:
			t.add(f)
			return nil
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.Is(err, errChanged):
			return fmt.Errorf("read %s: %w", quote(path), reason(err))
		case try == maxReads:
			return fmt.Errorf("%s changed each of the %d times it was read; let its writer end first, or exclude it", quote(path), maxReads)
		}
		if info, err = t.system.lstat(dir.root, name); errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read %s: %w", quote(path), reason(err))
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return t.link(dir, name, path)
		}
	}
}

// readOnce reads the file that info describes. It returns errChanged if it finds
// another one, or the file is not afterwards what it was before.
func (t *taker) readOnce(ctx context.Context, dir *place, name, path string, info fs.FileInfo) (File, error) {
	at := t.system.now()
	f, err := t.system.open(dir.root, name)
	if err != nil {
		return File{}, err
	}
	defer func() { _ = f.Close() }() // only read
	before, err := f.Stat()
	if err != nil {
		return File{}, err
	}
	s := stampOf(before)
	if !before.Mode().IsRegular() || !os.SameFile(info, before) {
		return File{}, errChanged
	}
	digest, size, err := t.content(ctx, f)
	if err != nil {
		return File{}, err
	}
	after, err := f.Stat()
	if err != nil {
		return File{}, err
	}
	if stampOf(after) != s || size != s.size {
		return File{}, errChanged
	}
	t.opts.Index.put(path, s, digest, at)
	return File{Path: path, Kind: kindOf(after), Size: size, Digest: digest}, nil
}

func (t *taker) content(ctx context.Context, f io.Reader) (Digest, int64, error) {
	if t.opts.Keep != nil {
		return t.opts.Keep.Add(ctx, f)
	}
	return sum(ctx, f)
}

var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// sum returns the digest and the length of what it reads.
func sum(ctx context.Context, r io.Reader) (d Digest, n int64, err error) {
	buf := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buf)
	h := sha256.New()
	for {
		m, err := r.Read(buf[:])
		h.Write(buf[:m])
		n += int64(m)
		if errors.Is(err, io.EOF) {
			h.Sum(d[:0])
			return d, n, nil
		}
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return d, n, err
		}
	}
}
