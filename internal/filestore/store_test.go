package filestore

import (
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/internal/tree"
)

func open(t testing.TB, dir string, limit int64) *Store {
	t.Helper()
	s, err := Open(t.Context(), dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func digest(text string) tree.Digest { return sha256.Sum256([]byte(text)) }

func add(t testing.TB, s *Store, text string) tree.Digest {
	t.Helper()
	d := digest(text)
	if err := s.Add(t.Context(), d, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return d
}

func read(t testing.TB, s *Store, d tree.Digest) (string, error) {
	t.Helper()
	r, err := s.Open(t.Context(), d)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

func TestAddedContentIsRead(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	for _, text := range []string{"", "hello", strings.Repeat("x", 1<<20)} {
		d := add(t, s, text)
		if got, err := read(t, s, d); err != nil || got != text {
			t.Errorf("%d bytes: read %d bytes, %v", len(text), len(got), err)
		}
	}
	if missing := s.Missing([]tree.Digest{digest(""), digest("no"), digest("hello")}); len(missing) != 1 || missing[0] != digest("no") {
		t.Errorf("missing %v", missing)
	}
}

func TestContentWithAnotherDigestIsRefused(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	if err := s.Add(t.Context(), digest("a"), strings.NewReader("b")); !errors.Is(err, ErrDigest) {
		t.Error(err)
	}
	if s.Has(digest("a")) || s.Has(digest("b")) {
		t.Error("it was added")
	}
}

func TestPlacedFileHasTheContent(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	d := add(t, s, "hello")
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := s.Place(t.Context(), d, root, "f", 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "f"))
	if err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRecordIsRead(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	if _, err := s.Record(t.Context(), "tree", "k"); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
	if err := s.PutRecord(t.Context(), "tree", "k", []byte("data")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Record(t.Context(), "tree", "k"); err != nil || string(got) != "data" {
		t.Errorf("%q, %v", got, err)
	}
}
