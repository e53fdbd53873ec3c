package filestore

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/internal/tree"
)

func openRoot(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// damage changes a file as a bad disk or a power loss may.
var damage = map[string]func(path string) error{
	"other bytes": func(path string) error { return os.WriteFile(path, []byte("hallo"), 0o600) },
	"cut":         func(path string) error { return os.Truncate(path, 2) },
	"empty":       func(path string) error { return os.Truncate(path, 0) },
	"longer":      func(path string) error { return os.Truncate(path, 100) },
	"zeros":       func(path string) error { return os.WriteFile(path, make([]byte, 5), 0o600) },
}

func TestDamagedContentIsNeverUsed(t *testing.T) {
	uses := map[string]func(t *testing.T, s *Store, d tree.Digest) error{
		"read": func(t *testing.T, s *Store, d tree.Digest) error {
			t.Helper()
			_, err := read(t, s, d)
			return err
		},
		"place": func(t *testing.T, s *Store, d tree.Digest) error {
			t.Helper()
			root := openRoot(t, t.TempDir())
			err := s.Place(t.Context(), d, root, "f", 0o644)
			if _, serr := root.Stat("f"); !errors.Is(serr, fs.ErrNotExist) {
				t.Errorf("a file is left: %v", serr)
			}
			return err
		},
	}
	for how, harm := range damage {
		for what, use := range uses {
			t.Run(what+" "+how, func(t *testing.T) {
				s := open(t, t.TempDir(), 0)
				d := add(t, s, "hello")
				if err := harm(s.path(d)); err != nil {
					t.Fatal(err)
				}
				if err := use(t, s, d); !errors.Is(err, ErrMissing) {
					t.Errorf("%v", err)
				}
				if s.Has(d) {
					t.Error("it still counts as present")
				}
				add(t, s, "hello")
				if got, err := read(t, s, d); err != nil || got != "hello" {
					t.Errorf("after adding it again: %q, %v", got, err)
				}
			})
		}
	}
}

func TestDamagedRecordIsMissing(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	for how, harm := range damage {
		if err := s.PutRecord(t.Context(), "tree", how, []byte("data")); err != nil {
			t.Fatal(err)
		}
		path, err := s.recordPath("tree", how)
		if err == nil {
			err = harm(path)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Record(t.Context(), "tree", how); !errors.Is(err, ErrMissing) {
			t.Errorf("%s: %q, %v", how, got, err)
		}
	}
}

// verifyFile verifies content as Place does before it trusts a clone.
func verifyFile(t *testing.T, s *Store, d tree.Digest) error {
	t.Helper()
	f, info, err := s.open(s.path(d))
	if err != nil {
		return err
	}
	defer f.Close()
	return s.verify(t.Context(), d, f, info)
}

func TestVerificationIsRepeatedAfterAChange(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // every use reads the bytes there
	}
	s := open(t, t.TempDir(), 0)
	s.verified.settled = 0
	d := add(t, s, "hello")
	if err := verifyFile(t, s, d); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(s.path(d))
	if err != nil {
		t.Fatal(err)
	}
	before, _ := stampOf(info)
	if !s.verified.has(d, before) {
		t.Fatal("the verification is not remembered")
	}
	// The size and the times stay, except for that of the change.
	for after := before; after.ctime == before.ctime; after, _ = stampOf(info) {
		if err := errors.Join(os.WriteFile(s.path(d), []byte("hallo"), 0o600), os.Chtimes(s.path(d), info.ModTime(), info.ModTime())); err != nil {
			t.Fatal(err)
		}
		if info, err = os.Stat(s.path(d)); err != nil {
			t.Fatal(err)
		}
	}
	if err := verifyFile(t, s, d); !errors.Is(err, ErrMissing) {
		t.Errorf("%v", err)
	}
}

func TestFreshVerificationIsNotRemembered(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	d := add(t, s, "hello") // its times are those of this instant: another change may leave them
	if err := verifyFile(t, s, d); err != nil {
		t.Fatal(err)
	}
	if len(s.verified.files) != 0 {
		t.Error("it is remembered")
	}
}

func TestPlaceReplacesNothing(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	d := add(t, s, "hello")
	root := openRoot(t, t.TempDir())
	if err := root.WriteFile("f", []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Place(t.Context(), d, root, "f", 0o644); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
	if b, err := root.ReadFile("f"); err != nil || string(b) != "other" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestPlacedFileIsIndependent(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	d := add(t, s, strings.Repeat("hello", 10000))
	root := openRoot(t, t.TempDir())
	if err := s.Place(t.Context(), d, root, "f", 0o755); err != nil {
		t.Fatal(err)
	}
	if info, err := root.Stat("f"); err != nil || info.Mode() != 0o755 && runtime.GOOS != "windows" {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := root.WriteFile("f", []byte("written by a module"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, s, d); err != nil || len(got) != 50000 {
		t.Errorf("read %d bytes: %v", len(got), err)
	}
}

func TestKeeperAddsFiles(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	root := openRoot(t, t.TempDir())
	if err := root.WriteFile("f", []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	pin := s.Pin()
	taken, err := tree.Take(t.Context(), root, tree.TakeOptions{Keep: s.Keeper(t.Context(), pin)})
	if err != nil || len(taken.Files) != 1 {
		t.Fatalf("%v, %v", taken, err)
	}
	if got, err := read(t, s, digest("hello")); err != nil || got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := s.trim(t.Context(), 1); err != nil || !s.Has(digest("hello")) {
		t.Errorf("it was evicted: %v", err)
	}
	if err := pin.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.trim(t.Context(), 1); err != nil || s.Has(digest("hello")) {
		t.Errorf("it was not evicted: %v", err)
	}
}
