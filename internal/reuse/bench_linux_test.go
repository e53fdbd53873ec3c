package reuse

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/modpipe/modpipe/internal/filestore"
	"github.com/modpipe/modpipe/internal/tree"
)

// BenchmarkDirectory measures an attempt's directory of 10,000 files and 200 MB
// beside `cp -r` of it: written from the store, and restored after an attempt
// that changed nothing, and one that built something (100 files changed, 500
// added). The package comments have figures. TMPDIR chooses the file system.
func BenchmarkDirectory(b *testing.B) {
	parent := b.TempDir()
	store, err := filestore.Open(b.Context(), filepath.Join(parent, "store"), 0)
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	source := filepath.Join(parent, "source")
	files := makeFiles(b, source, store)

	b.Run("cp -r", func(b *testing.B) {
		defer cpu(b, unix.RUSAGE_CHILDREN)()
		for b.Loop() {
			dir := filepath.Join(parent, "copy")
			if out, err := exec.CommandContext(b.Context(), "cp", "-r", source, dir).CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			remove(b, dir)
		}
	})
	b.Run("write", func(b *testing.B) {
		var used time.Duration
		defer func() { b.ReportMetric(float64(used.Milliseconds())/float64(b.N), "cpu-ms/op") }()
		for b.Loop() {
			dir := filepath.Join(parent, "written")
			began := cpuTime(b, unix.RUSAGE_SELF)
			writeFrom(b, store, files, dir)
			used += cpuTime(b, unix.RUSAGE_SELF) - began
			remove(b, dir)
		}
	})
	dir := filepath.Join(parent, "work")
	writeFrom(b, store, files, dir)
	mark, err := Take(b.Context(), dir, files)
	if err != nil {
		b.Fatal(err)
	}
	restore := func(b *testing.B) {
		b.Helper()
		if mark, _, err = mark.Restore(b.Context(), dir, files, store, firstTime); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("restore unchanged", func(b *testing.B) {
		defer cpu(b, unix.RUSAGE_SELF)()
		for b.Loop() {
			restore(b)
		}
	})
	b.Run("restore after a build", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			build(b, dir, files)
			b.StartTimer()
			restore(b)
		}
	})
}

// cpu reports the processor time of an operation, which says more than the
// time that passes when others use the machine.
func cpu(b *testing.B, who int) func() {
	b.Helper()
	began := cpuTime(b, who)
	return func() {
		b.ReportMetric(float64((cpuTime(b, who)-began).Milliseconds())/float64(b.N), "cpu-ms/op")
	}
}

func cpuTime(b *testing.B, who int) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// makeFiles writes 10,000 files of 20 kB on average in 500 directories, and adds
// them to the store.
func makeFiles(b *testing.B, dir string, store *filestore.Store) *tree.Tree {
	b.Helper()
	random := rand.NewChaCha8([32]byte{1})
	content := make([]byte, 40<<10)
	for i := range 10_000 {
		path := filepath.Join(dir, fmt.Sprintf("dir%d/sub%d/file%d", i%25, i%500, i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		_, _ = random.Read(content) // it never fails
		if err := os.WriteFile(path, content[:random.Uint64()%uint64(len(content))], 0o644); err != nil {
			b.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	files, err := tree.Take(b.Context(), root, tree.TakeOptions{Keep: store.Keeper(b.Context(), store.Pin())})
	if err != nil {
		b.Fatal(err)
	}
	return files
}

func writeFrom(b *testing.B, store *filestore.Store, files *tree.Tree, dir string) {
	b.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	if err := tree.Write(b.Context(), files, root, store, tree.WriteOptions{Time: firstTime}); err != nil {
		b.Fatal(err)
	}
}

func remove(b *testing.B, dir string) {
	b.Helper()
	b.StopTimer()
	defer b.StartTimer()
	if err := os.RemoveAll(dir); err != nil {
		b.Fatal(err)
	}
}

func build(b *testing.B, dir string, files *tree.Tree) {
	b.Helper()
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		b.Fatal(err)
	}
	for i := range 500 {
		if err := os.WriteFile(filepath.Join(out, fmt.Sprint(i)), make([]byte, 20<<10), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 100 {
		if err := os.WriteFile(filepath.Join(dir, files.Files[i*97].Path), []byte("changed"), 0o644); err != nil {
			b.Fatal(err)
		}
	}
}
