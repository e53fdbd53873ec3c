package snapshot

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/pipeline"
)

func created(t *testing.T, dir string, p *pipeline.Pipeline, files ...string) string {
	t.Helper()
	before := Untracked(t.Context(), dir)
	for _, f := range files {
		at := filepath.Join(dir, f)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return DeclaredBy(p, dir, filepath.Join(dir, ".store")).Created(before, Untracked(t.Context(), dir))
}

func TestCreatedFilesAreNamed(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "git", "init", "-q", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("*.o\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := &pipeline.Pipeline{Modules: []*pipeline.Module{
		{Produce: []pipeline.Produce{{Name: "bin", Paths: []string{"bin/**", "!bin/tmp"}}, {Name: "late", Paths: []string{"out-${{ needs.a.outputs.x }}/**"}}}},
		{Consume: []pipeline.Consume{{Name: "bin", To: "deps"}}},
	}}
	if got := created(t, dir, p, "bin/app", "deps/app", "out-7/x", ".store/data"); got != "" {
		t.Errorf("declared files are reported: %s", got)
	}
	got := created(t, dir, p, "a.o", "new.txt")
	if !strings.Contains(got, "created 2 files") || !strings.Contains(got, "a.o, new.txt;") {
		t.Errorf("got %q", got)
	}
	if got := created(t, dir, p, "a.o", "new.txt"); got != "" {
		t.Errorf("files that were there are reported: %s", got)
	}
	var many []string
	for i := range 1200 {
		many = append(many, fmt.Sprintf("node_modules/m%d/index.js", i))
	}
	got = created(t, dir, p, append(many, "z")...)
	if !strings.Contains(got, "1,201 files") || !strings.Contains(got, "node_modules/… (1,200 files), z;") {
		t.Errorf("got %q", got)
	}
}

func TestNothingIsComparedOutsideGit(t *testing.T) {
	if got := created(t, t.TempDir(), &pipeline.Pipeline{}, "a"); got != "" {
		t.Errorf("got %q", got)
	}
}
