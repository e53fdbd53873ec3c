package process

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/modpipe/modpipe/internal/workspace"
)

// An attempt finds its directory as if it were new, and leaves nothing under its name,
// whatever it did there.
func TestSpareDirectories(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	kept := filepath.Join(t.TempDir(), "kept")
	s := &spares{most: 1}
	for _, tt := range []struct {
		what  string
		does  func(*scratch) error
		spare bool
	}{
		{"nothing", func(*scratch) error { return nil }, true},
		{"an output", func(s *scratch) error { return os.WriteFile(s.output, []byte("a=b"), 0o600) }, true},
		{"writes its needs", func(s *scratch) error { return os.WriteFile(s.needs, []byte("junk, and more of it"), 0o600) }, true},
		{"no output", func(s *scratch) error { return os.Remove(s.output) }, false},
		{"leaves a file", func(s *scratch) error { return os.WriteFile(filepath.Join(s.tmp, "x"), nil, 0o600) }, false},
		{"leaves a file beside", func(s *scratch) error { return os.WriteFile(filepath.Join(s.root, "x"), nil, 0o600) }, false},
		{"keeps its needs", func(s *scratch) error { return os.Link(s.needs, kept) }, false},
		{"a link for a file", func(s *scratch) error {
			return orFirst(os.Remove(s.needs), os.Symlink(kept, s.needs))
		}, false},
		{"a link for a directory", func(s *scratch) error { return orFirst(os.Remove(s.tmp), os.Symlink(dir, s.tmp)) }, false},
		{"another mode", func(s *scratch) error { return os.Chmod(s.tmp, 0o500) }, false},
	} {
		a, err := newScratch(t.Context(), workspace.New(dir), "", []byte("{}\n"), s)
		if err != nil {
			t.Fatalf("%s: %v", tt.what, err)
		}
		output, err := os.ReadFile(a.output)
		needs, also := os.ReadFile(a.needs)
		if err != nil || also != nil || len(output) > 0 || string(needs) != "{}\n" || !holds(a.tmp, 0) || !holds(a.root, 3) {
			t.Errorf("before %s: %q %q %v %v", tt.what, output, needs, err, also)
		}
		if err := tt.does(a); err != nil {
			t.Fatalf("%s: %v", tt.what, err)
		}
		if err := a.leave(); err != nil {
			t.Errorf("%s: %v", tt.what, err)
		}
		if _, err := os.Lstat(a.root); !os.IsNotExist(err) {
			t.Errorf("%s: %s is there: %v", tt.what, a.root, err)
		}
		if len(s.paths) == 1 != tt.spare {
			t.Errorf("%s: spare: %q", tt.what, s.paths)
		}
	}
	if text, err := os.ReadFile(kept); err != nil || string(text) != "{}\n" {
		t.Errorf("what an attempt has kept is %q now: %v", text, err)
	}
	s.remove()
	if !holds(dir, 0) {
		t.Error("something is left")
	}
}

func orFirst(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// A program that removes temporary files causes no failure.
func TestSparesThatWereCleanedUp(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := &spares{most: 2}
	var two [2]*scratch
	for i := range two {
		var err error
		if two[i], err = newScratch(t.Context(), workspace.New(""), "", nil, s); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(two[i].workspace); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range two {
		if err := a.leave(); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.paths) != 2 {
		t.Fatalf("%q", s.paths)
	}
	if err := os.RemoveAll(s.paths[1]); err != nil {
		t.Fatal(err)
	}
	old, err := os.Stat(s.paths[0])
	if err != nil {
		t.Fatal(err)
	}
	a, err := newScratch(t.Context(), workspace.New(""), "", nil, s)
	if err != nil {
		t.Fatal(err)
	}
	if now, err := os.Stat(a.root); err != nil || !os.SameFile(old, now) {
		t.Errorf("not the one that is left: %v", err)
	}
	if err := a.remove(); err != nil {
		t.Error(err)
	}
}
