package workspace

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/internal/machine"
)

func TestCommandDirectoryStaysInTheWorkspace(t *testing.T) {
	outside, ws := t.TempDir(), t.TempDir()
	for _, err := range []error{
		os.Symlink(outside, filepath.Join(ws, "out")), os.MkdirAll(filepath.Join(ws, "in", "deep"), 0o755),
		os.Symlink("in", filepath.Join(ws, "link")), os.WriteFile(filepath.Join(ws, "file"), nil, 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string]string{
		"": ws, ".": ws, "in/deep": ws + "/in/deep", "link/deep": ws + "/in/deep", "in/../in": ws + "/in",
		"out": "!leads out", "/etc": "!leads out", "in/../..": "!leads out", "file": "!not a directory",
	} {
		got, err := Resolve(ws, dir)
		if bad, ok := strings.CutPrefix(want, "!"); ok {
			if err == nil || !strings.Contains(err.Error(), bad) {
				t.Errorf("dir %q: %q, %v; want an error with %q", dir, got, err, bad)
			}
		} else if got != want || err != nil {
			t.Errorf("dir %q: %q, %v; want %q", dir, got, err, want)
		}
	}
}

func TestEmptyWorkspaceIsRemovedWithReadOnlyDirectories(t *testing.T) {
	within := t.TempDir()
	dir, cleanup, err := New("").Prepare(t.Context(), Request{Within: within})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "a"), 0o500); err != nil {
		t.Fatal(err)
	}
	if err := cleanup(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(within); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestWorkspaceInPlaceIsSharedAndKept(t *testing.T) {
	ws := t.TempDir()
	dir, cleanup, err := New(ws).Prepare(t.Context(), Request{Within: t.TempDir()})
	if err != nil || dir != ws {
		t.Fatalf("%q, %v; want %q", dir, err, ws)
	}
	if err := cleanup(); err != nil {
		t.Error(err)
	}
	if err := Check(ws); err != nil {
		t.Error(err)
	}
}

func TestUnmountedWorkspaceIsTheMachinesFault(t *testing.T) {
	s := &Source{dir: t.TempDir(), mounted: true}
	if _, _, err := s.Prepare(t.Context(), Request{Within: t.TempDir()}); !machine.Caused(err) || !strings.Contains(err.Error(), "is not mounted any more") {
		t.Error(err)
	}
}
