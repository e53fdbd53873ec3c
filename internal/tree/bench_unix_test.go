//go:build unix

package tree

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

const (
	benchFiles = 10_000
	benchSize  = 4 << 10
)

// workspace creates files with different content, 20 to a directory, as a
// repository with one commit.
func workspace(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	content := make([]byte, benchSize)
	rnd := rand.NewChaCha8([32]byte{1})
	for i := range benchFiles {
		at := filepath.Join(dir, fmt.Sprintf("src/package%d/part%d", i/400, i/20%20))
		if err := os.MkdirAll(at, 0o755); err != nil {
			b.Fatal(err)
		}
		_, _ = rnd.Read(content)
		if err := os.WriteFile(filepath.Join(at, fmt.Sprintf("file%d.go", i%20)), content, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	git(b, dir, "init", "-q")
	git(b, dir, "add", ".")
	git(b, dir, "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-q", "-m", "all")
	return dir
}

func git(b *testing.B, dir string, args ...string) string {
	b.Helper()
	// Without maintenance, which would go on in the background.
	args = append([]string{"-c", "gc.auto=0", "-c", "maintenance.auto=false"}, args...)
	cmd := exec.CommandContext(b.Context(), "git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("git %v: %v: %s", args, err, out)
	}
	return string(out)
}

// BenchmarkTake takes 10,000 files of 4 KiB beside what git needs for its status.
func BenchmarkTake(b *testing.B) {
	dir := workspace(b)
	root := openRoot(b, dir)
	b.Run("git-status", func(b *testing.B) {
		git(b, dir, "status") // it refreshes git's own index
		defer cpu(b)()
		for b.Loop() {
			git(b, dir, "status", "--porcelain")
		}
	})
	b.Run("all", func(b *testing.B) {
		b.SetBytes(benchFiles * benchSize)
		defer cpu(b)()
		for b.Loop() {
			mustTake(b, root, TakeOptions{SkipGit: true})
		}
	})
	file := filepath.Join(b.TempDir(), "index")
	ahead := machine
	ahead.now = func() time.Time { return time.Now().Add(time.Hour) }
	x := openIndex(b, file)
	mustTake(b, root, TakeOptions{SkipGit: true, Index: x, system: &ahead})
	if err := x.Save(); err != nil {
		b.Fatal(err)
	}
	b.Run("indexed", func(b *testing.B) {
		defer cpu(b)()
		for b.Loop() {
			x := openIndex(b, file)
			mustTake(b, root, TakeOptions{SkipGit: true, Index: x})
			if err := x.Save(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("indexed-list", func(b *testing.B) {
		list := strings.Split(strings.TrimSuffix(git(b, dir, "ls-files", "-z"), "\x00"), "\x00")
		defer cpu(b)()
		for b.Loop() {
			mustTake(b, root, TakeOptions{Paths: listOf(list...), Index: openIndex(b, file)})
		}
	})
}

// plain writes the same bytes for every digest.
type plain []byte

func (p plain) Place(_ context.Context, _ Digest, dst *os.Root, path string, mode fs.FileMode) error {
	f, err := dst.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err := f.Write(p); err != nil {
		return err
	}
	return f.Close()
}

// synthetic is a tree of n files that need not be on any disk.
func synthetic(n int) []File {
	files := make([]File, n)
	for i := range files {
		path := fmt.Sprintf("src/package%03d/part%02d/file%02d.go", i/400, i/20%20, i%20)
		files[i] = File{Path: path, Size: benchSize, Digest: Digest{byte(i), byte(i >> 8), byte(i >> 16)}}
	}
	return files
}

// BenchmarkWrite writes 10,000 files of 4 KiB beside `cp -r` of the same.
func BenchmarkWrite(b *testing.B) {
	tree := mustNew(b, synthetic(benchFiles)...)
	content := plain(make([]byte, benchSize))
	write := func(dir string) {
		root := openRoot(b, dir)
		if err := Write(b.Context(), tree, root, content, WriteOptions{Time: time.Unix(1e9, 0)}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("write", func(b *testing.B) {
		b.SetBytes(benchFiles * benchSize)
		defer cpu(b)()
		for b.Loop() {
			write(b.TempDir())
		}
	})
	b.Run("cp", func(b *testing.B) {
		from := b.TempDir()
		write(from)
		b.SetBytes(benchFiles * benchSize)
		defer cpu(b)()
		for b.Loop() {
			cmd := exec.CommandContext(b.Context(), "cp", "-r", from+"/src", b.TempDir())
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
	})
}

// BenchmarkRoot hashes the nodes of 100,000 files.
func BenchmarkRoot(b *testing.B) {
	tree := mustNew(b, synthetic(100_000)...)
	defer cpu(b)()
	for b.Loop() {
		tree.Root()
	}
}

// BenchmarkEncode encodes and decodes 100,000 files.
func BenchmarkEncode(b *testing.B) {
	files := mustNew(b, synthetic(100_000)...).Files
	run := AppendFiles(nil, files)
	b.Run("append", func(b *testing.B) {
		b.SetBytes(int64(len(run)))
		defer cpu(b)()
		for b.Loop() {
			run = AppendFiles(run[:0], files)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(len(run)))
		defer cpu(b)()
		for b.Loop() {
			if _, err := DecodeFiles(run); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(len(run))/float64(len(files)), "bytes/file")
}

// BenchmarkMemory takes and writes 100,000 files, and reports how much the heap
// holds above what it held before: at its peak, and for the tree alone.
func BenchmarkMemory(b *testing.B) {
	dir := b.TempDir()
	from := openRoot(b, dir)
	tree := mustNew(b, synthetic(100_000)...)
	if err := Write(b.Context(), tree, from, plain("x"), WriteOptions{}); err == nil {
		b.Fatal("sizes are not checked")
	}
	for i := range tree.Files {
		tree.Files[i].Size = 1
	}
	defer cpu(b)()
	for b.Loop() {
		to := openRoot(b, b.TempDir())
		b.ReportMetric(peak(b, func() {
			if err := Write(b.Context(), tree, to, plain("x"), WriteOptions{Time: time.Unix(1e9, 0)}); err != nil {
				b.Fatal(err)
			}
		}), "write-MB")
		var taken *Tree
		x := openIndex(b, filepath.Join(b.TempDir(), "index"))
		b.ReportMetric(peak(b, func() { taken = mustTake(b, to, TakeOptions{}) }), "take-MB")
		b.ReportMetric(peak(b, func() { taken = mustTake(b, to, TakeOptions{Index: x}) }), "take-indexed-MB")
		if taken.Len() != tree.Len() {
			b.Fatalf("took %d files", taken.Len())
		}
	}
}

// peak returns by how many MB the heap grows while f runs.
func peak(b *testing.B, f func()) float64 {
	b.Helper()
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	stop, done := make(chan struct{}), make(chan uint64)
	go func() {
		most := uint64(0)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				done <- most
				return
			case <-tick.C:
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapInuse)
			}
		}
	}()
	f()
	close(stop)
	return float64(int64(<-done)-int64(before.HeapInuse)) / 1e6
}
