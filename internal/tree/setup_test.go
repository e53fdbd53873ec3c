package tree

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// shelf is a store in memory.
type shelf struct {
	mu      sync.Mutex
	content map[Digest][]byte
}

func newShelf() *shelf { return &shelf{content: map[Digest][]byte{}} }

func (s *shelf) Has(d Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.content[d]
	return ok
}

func (s *shelf) Add(_ context.Context, r io.Reader) (Digest, int64, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return Digest{}, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := Digest(sha256.Sum256(b))
	s.content[d] = b
	return d, int64(len(b)), nil
}

func (s *shelf) Place(_ context.Context, d Digest, dst *os.Root, path string, mode fs.FileMode) error {
	s.mu.Lock()
	b, ok := s.content[d]
	s.mu.Unlock()
	if !ok {
		return errors.New("the shelf does not have it")
	}
	f, err := dst.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

func openRoot(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := root.Close(); err != nil {
			t.Error(err)
		}
	})
	return root
}

// layout creates files: a path that ends in a slash is a directory, content after
// "-> " is the target of a link, and content after "#!" is executable.
func layout(t testing.TB, files map[string]string) (string, *os.Root) {
	t.Helper()
	dir := t.TempDir()
	for path, content := range files {
		put(t, dir, path, content)
	}
	return dir, openRoot(t, dir)
}

func put(t testing.TB, dir, path, content string) {
	t.Helper()
	at := filepath.Join(dir, path)
	err := os.MkdirAll(filepath.Dir(at), 0o755)
	if err == nil {
		switch {
		case path[len(path)-1] == '/':
			err = os.MkdirAll(at, 0o755)
		case len(content) > 3 && content[:3] == "-> ":
			err = os.Symlink(content[3:], at)
		default:
			mode := fs.FileMode(0o644)
			if len(content) > 2 && content[:2] == "#!" {
				mode = 0o755
			}
			err = os.WriteFile(at, []byte(content), mode)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func mustTake(t testing.TB, root *os.Root, opts TakeOptions) *Tree {
	t.Helper()
	tree, err := Take(t.Context(), root, opts)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func mustNew(t testing.TB, files ...File) *Tree {
	t.Helper()
	tree, err := New(files)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func paths(t *Tree) []string {
	all := []string{}
	for _, f := range t.Files {
		all = append(all, f.Path)
	}
	return all
}

// regular is a file with this content.
func regular(path, content string) File {
	return File{Path: path, Size: int64(len(content)), Digest: sha256.Sum256([]byte(content))}
}
