package files_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

// BenchmarkPrepare measures what an attempt waits for its directory of 10,000 files
// and 200 MB that the machine has: a new one, and one that another attempt has left
// unchanged, or with 100 files changed and 500 added. `cp -r` is beside it. The
// package comment has figures. TMPDIR chooses the file system.
func BenchmarkPrepare(b *testing.B) {
	s := newSite(b, 1)
	source := filepath.Join(b.TempDir(), "source")
	f := &jobs.JobFiles{Workspace: s.pushLarge(b, source)}
	attempt := func(b *testing.B, gone bool, work func(dir string)) {
		b.Helper()
		d, err := s.Prepare(context.Background(), f, "")
		natstest.Check(b, err)
		b.StopTimer()
		work(d.Found().Dir)
		if gone {
			d.Gone()
		}
		b.StartTimer()
		natstest.Check(b, d.Close())
	}
	nothing := func(string) {}
	attempt(b, false, nothing) // the machine has the contents from here on

	b.Run("cp -r", func(b *testing.B) {
		copied := filepath.Join(b.TempDir(), "copy")
		for b.Loop() {
			if out, err := exec.CommandContext(b.Context(), "cp", "-r", source, copied).CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			natstest.Check(b, os.RemoveAll(copied))
		}
	})
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			attempt(b, false, nothing)
		}
	})
	attempt(b, true, nothing)
	b.Run("unchanged", func(b *testing.B) {
		for b.Loop() {
			attempt(b, true, nothing)
		}
	})
	b.Run("after a build", func(b *testing.B) {
		for b.Loop() {
			attempt(b, true, func(dir string) {
				for i := range 500 {
					write(b, dir, contents{fmt.Sprintf("out/%d", i): "built"})
				}
				for i := range 100 {
					write(b, dir, contents{fmt.Sprintf("dir%d/sub%d/file%d", i%25, i, i): "changed"})
				}
			})
		}
	})
}

// pushLarge writes 10,000 files of 20 kB on average in 500 directories, and stores them.
func (s *site) pushLarge(b *testing.B, dir string) *jobs.Tree {
	b.Helper()
	random := rand.NewChaCha8([32]byte{1})
	content := make([]byte, 40<<10)
	for i := range 10_000 {
		_, _ = random.Read(content) // it never fails
		write(b, dir, contents{fmt.Sprintf("dir%d/sub%d/file%d", i%25, i%500, i): string(content[:random.Uint64()%uint64(len(content))])})
	}
	root, err := os.OpenRoot(dir)
	natstest.Check(b, err)
	defer root.Close()
	t := natstest.Must[*tree.Tree](b)(tree.Take(b.Context(), root, tree.TakeOptions{}))
	open := func(f tree.File) (io.ReadCloser, error) { return root.Open(f.Path) }
	ref, _, err := transfer.Push(b.Context(), s.remote, t, open, taken)
	natstest.Check(b, err)
	return &ref
}
