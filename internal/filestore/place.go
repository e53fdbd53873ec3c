package filestore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/tree"
)

// Place creates a file with content of the store: at path below dst, which must
// not exist, with the permissions mode less the umask. It clones the content
// where the file system can, and otherwise copies it. The bytes of a file that
// was placed have been verified.
//
// ErrMissing reports that the store lacks the content, fs.ErrExist that something
// is at path. On an error nothing is left there. Many goroutines may place files
// at the same time. Place implements tree.Content.
func (s *Store) Place(ctx context.Context, d tree.Digest, dst *os.Root, path string, mode fs.FileMode) error {
	src, info, err := s.open(s.path(d))
	if err != nil {
		return fmt.Errorf("write %s: content %v: %w", path, d, err)
	}
	defer src.Close() //nolint:errcheck // it was only read
	out, err := dst.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode.Perm())
	if err != nil {
		return err
	}
	if s.clone(out, src) {
		err = s.verify(ctx, d, src, info)
	} else {
		err = s.copyVerified(ctx, d, out, src, info)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), dst.Remove(path))
	}
	return nil
}

// copyVerified copies a file of the store, and checks what it copies.
func (s *Store) copyVerified(ctx context.Context, d tree.Digest, out, src *os.File, info fs.FileInfo) error {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	room := func(need int64) (int64, error) {
		if !sameDevice(out, src) {
			return 0, nil
		}
		return s.trim(ctx, need)
	}
	h := sha256.New()
	for size := int64(0); ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := src.Read(buf[:])
		h.Write(buf[:n])
		if n > 0 {
			if _, err := s.writeAll(out, buf[:n], size, room); err != nil {
				return machine.Errorf("%w", machine.WithoutPath(err))
			}
			size += int64(n)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return s.failed("read a file", err)
		}
	}
	if tree.Digest(h.Sum(nil)) != d {
		return s.damaged(ctx, d, info)
	}
	return nil
}
