package snapshot

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkUnchanged takes a workspace of 10,000 unchanged files, 200 MB, beside
// `git status` of it.
func BenchmarkUnchanged(b *testing.B) {
	dir, err := filepath.EvalSymlinks(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	git(b, dir, "init", "-q")
	all := map[string]string{".gitignore": "*.o\n"}
	for i := range 10_000 {
		all[fmt.Sprintf("d%d/e%d/f%d.txt", i%10, i%300, i)] = strings.Repeat(fmt.Sprintf("%d %d\n", i, i*i), 1600)
	}
	write(b, dir, all)
	commit(b, dir)
	o := Options{Dir: dir, IndexDir: b.TempDir()}
	snapshot := func(b *testing.B) {
		r, err := Take(b.Context(), o)
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Close(); err != nil || r.Files() != 10_001 {
			b.Fatal(r.Files(), err)
		}
	}
	snapshot(b)
	b.Run("status", func(b *testing.B) {
		for b.Loop() {
			cmd := exec.CommandContext(b.Context(), "git", "status", "--porcelain")
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				b.Fatalf("%v: %s", err, out)
			}
		}
	})
	b.Run("snapshot", func(b *testing.B) {
		for b.Loop() {
			snapshot(b)
		}
	})
	o.Rev = "HEAD"
	b.Run("rev", func(b *testing.B) {
		for b.Loop() {
			snapshot(b)
		}
	})
}
