package snapshot

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/modpipe/modpipe/internal/tree"
)

// ErrChanged is wrapped by the error of reading a file that changed after the
// snapshot was taken. Taking the snapshot again helps.
var ErrChanged = errors.New("the file changed after the snapshot was taken")

// Open opens the content of a regular file of Tree or Git. The reader returns
// io.EOF only after the whole content matched the file's size and digest, and an
// error that wraps ErrChanged otherwise.
func (r *Result) Open(f tree.File) (io.ReadCloser, error) {
	raw, err := r.open(f)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w: it is gone", f.Path, ErrChanged)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Path, err)
	}
	return &checked{raw: raw, f: f, hash: sha256.New()}, nil
}

func (r *Result) open(f tree.File) (io.ReadCloser, error) {
	if strings.HasPrefix(f.Path, ".git/") && r.git != "" {
		return openIn(r.git, f.Path)
	}
	for _, s := range r.sources {
		if rest, ok := strings.CutPrefix(f.Path, s.at+"/"); ok && s.at != "" {
			return openIn(s.dir, rest)
		}
	}
	if r.rev != nil {
		return r.rev.open(f.Path)
	}
	if len(r.sources) == 0 {
		return nil, os.ErrNotExist
	}
	return openIn(r.sources[0].dir, f.Path)
}

// openIn opens a regular file without leaving dir.
func openIn(dir, p string) (io.ReadCloser, error) {
	f, err := os.OpenInRoot(dir, filepath.FromSlash(p))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: it is no regular file any more", ErrChanged)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// checked compares what it reads with the digest of a file.
type checked struct {
	raw  io.ReadCloser
	f    tree.File
	hash hash.Hash
	n    int64
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.raw.Read(p)
	c.hash.Write(p[:n])
	c.n += int64(n)
	switch {
	case c.n > c.f.Size:
		return 0, fmt.Errorf("read %s: %w: it is larger", c.f.Path, ErrChanged)
	case errors.Is(err, io.EOF) && (c.n != c.f.Size || !bytes.Equal(c.hash.Sum(nil), c.f.Digest[:])):
		return 0, fmt.Errorf("read %s: %w", c.f.Path, ErrChanged)
	}
	return n, err
}

func (c *checked) Close() error { return c.raw.Close() }
