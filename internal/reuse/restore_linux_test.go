package reuse

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/modpipe/modpipe/internal/tree"
)

// memory is a store of contents.
type memory map[tree.Digest][]byte

func (m memory) Place(_ context.Context, d tree.Digest, dst *os.Root, path string, mode fs.FileMode) error {
	f, err := dst.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(m[d])
	return errors.Join(err, f.Close())
}

func (m memory) file(path, text string, kind tree.Kind) tree.File {
	d := tree.Digest(sha256.Sum256([]byte(text)))
	m[d] = []byte(text)
	return tree.File{Path: path, Kind: kind, Size: int64(len(text)), Digest: d}
}

// failer is what a test and a property have in common.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Context() context.Context
}

func newTree(t failer, files ...tree.File) *tree.Tree {
	t.Helper()
	made, err := tree.New(files)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func (m memory) example(t failer) *tree.Tree {
	t.Helper()
	return newTree(t,
		m.file("a", "aaaa", tree.Regular), m.file("run", "bbbb", tree.Executable), m.file("d/a", "cccc", tree.Regular),
		m.file("d/e/f", "dddd", tree.Regular), m.file("d/e/g", "", tree.Regular), m.file("d.x", "eeee", tree.Regular),
		tree.File{Path: "empty", Kind: tree.Directory}, tree.File{Path: "l", Kind: tree.Link, Target: "d/a"},
		tree.File{Path: "d/l", Kind: tree.Link, Target: "e"})
}

// other differs from example in a few entries.
func (m memory) other(t failer) *tree.Tree {
	t.Helper()
	return newTree(t,
		m.file("a", "AAAA", tree.Regular), m.file("run", "bbbb", tree.Regular), m.file("d/a", "cccc", tree.Regular),
		m.file("d/e/f", "dddd", tree.Regular), m.file("empty/now", "not", tree.Regular),
		tree.File{Path: "l", Kind: tree.Link, Target: "d"}, m.file("d/l", "e", tree.Regular))
}

var (
	firstTime  = time.Unix(1_700_000_000, 123)
	secondTime = time.Unix(1_700_000_100, 456)
)

// write makes a directory with the files of a tree, and marks it.
func write(t failer, m memory, dir string, files *tree.Tree) *Mark {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := tree.Write(t.Context(), files, root, m, tree.WriteOptions{Time: firstTime}); err != nil {
		t.Fatal(err)
	}
	mark, err := take(t.Context(), dir, root, want(files)) // on any file system
	if err != nil {
		t.Fatal(err)
	}
	return mark
}

// describe lists everything in a directory that an attempt could see.
func describe(t failer, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("mode %o, owner %d:%d", st.Mode, st.Uid, st.Gid)
		if !e.IsDir() {
			line += fmt.Sprintf(", %d links", st.Nlink)
		}
		if rel != "." && e.Type()&fs.ModeSymlink == 0 {
			line += fmt.Sprintf(", time %d", st.Mtim.Nano())
		}
		if n, err := unix.Llistxattr(path, nil); err == nil && n > 0 {
			names := make([]byte, n)
			_, _ = unix.Llistxattr(path, names)
			line += fmt.Sprintf(", attributes %q", bytes.ReplaceAll(names, []byte("security.selinux\x00"), nil))
		}
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			all[rel] = line + " -> " + target
			return err
		case e.Type().IsRegular():
			b, err := os.ReadFile(path)
			all[rel] = line + " = " + string(b)
			return err
		}
		all[rel] = line
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// fresh is what describe returns of a directory that is written from nothing.
func fresh(t failer, m memory, parent string, files *tree.Tree, at time.Time) map[string]string {
	t.Helper()
	dir := filepath.Join(parent, "fresh")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := tree.Write(t.Context(), files, root, m, tree.WriteOptions{Time: at}); err != nil {
		t.Fatal(err)
	}
	return describe(t, dir)
}

// hostile lists what a module may do to a path in its directory, which may or may
// not exist. Errors do not matter: the module tries.
var hostile = map[string]func(dir, path, other string){
	"write":        func(_, path, _ string) { put(path, "longer than before") },
	"forge":        func(_, path, _ string) { forge(path, func() { put(path, "9999") }) },
	"map":          func(_, path, _ string) { forge(path, func() { mapAndWrite(path) }) },
	"chmod":        func(_, path, _ string) { _ = os.Chmod(path, 0o711) },
	"lock":         func(_, path, _ string) { _ = os.Chmod(path, 0) },
	"chmod back":   func(_, path, _ string) { _ = errors.Join(os.Chmod(path, 0o777), os.Chmod(path, 0o755)) },
	"set group":    func(_, path, _ string) { _ = os.Chmod(path, 0o755|fs.ModeSetgid|fs.ModeSticky) },
	"remove":       func(_, path, _ string) { _ = removeAll(path) },
	"mkdir":        func(_, path, _ string) { _ = os.MkdirAll(filepath.Join(path, "sub"), 0o700) },
	"add":          func(_, path, _ string) { put(filepath.Join(path, ".hidden"), "x") },
	"add and undo": func(_, path, _ string) { addAndUndo(filepath.Join(path, "brief")) },
	"rename":       func(_, path, other string) { _ = os.Rename(path, other) },
	"swap":         func(_, path, other string) { swap(path, other) },
	"move and back": func(dir, path, _ string) {
		_ = errors.Join(os.Rename(path, dir+".out"), os.Rename(dir+".out", path))
	},
	"link out":  func(dir, path, _ string) { _ = os.Link(path, dir+".link") },
	"link in":   func(dir, path, _ string) { _ = errors.Join(os.Remove(path), os.Link(dir+".outside", path)) },
	"point out": func(dir, path, _ string) { _ = errors.Join(removeAll(path), os.Symlink(dir+".outside", path)) },
	"point up":  func(_, path, _ string) { _ = errors.Join(removeAll(path), os.Symlink("..", path)) },
	"same file": func(_, path, other string) { _ = errors.Join(os.Remove(path), os.Link(other, path)) },
	"fifo":      func(_, path, _ string) { _ = errors.Join(removeAll(path), unix.Mkfifo(path, 0o644)) },
	"attribute": func(_, path, _ string) { _ = unix.Lsetxattr(path, "user.hidden", []byte("message"), 0) },
	"acl":       func(_, path, _ string) { _ = unix.Lsetxattr(path, "system.posix_acl_default", openToAll, 0) },
	"own":       func(_, path, _ string) { _ = os.Lchown(path, 12345, 12345) },
	"touch":     func(_, path, _ string) { _ = os.Chtimes(path, firstTime, time.Unix(1, 0)) },
	"copy over": func(_, path, other string) { copyOver(path, other) },
}

// removeAll removes a path and what is below it. Where its parent is no directory
// os.RemoveAll opens that, and a pipe without a writer never opens.
func removeAll(path string) error {
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return err
	}
	return os.RemoveAll(path)
}

// openToAll is a default access control list that new files inherit.
var openToAll = []byte{
	2, 0, 0, 0,
	1, 0, 7, 0, 255, 255, 255, 255,
	4, 0, 7, 0, 255, 255, 255, 255,
	32, 0, 7, 0, 255, 255, 255, 255,
}

// forge changes a file and gives it back its times.
func forge(path string, change func()) {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	change()
	_ = os.Chtimes(path, info.ModTime(), info.ModTime())
}

func mapAndWrite(path string) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return
	}
	defer unix.Munmap(b) //nolint:errcheck // a test
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		b[0]++
	}
}

func addAndUndo(path string) { _ = errors.Join(os.WriteFile(path, nil, 0o644), os.Remove(path)) }

func swap(a, b string) { _ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) }

func copyOver(path, other string) {
	if info, err := os.Stat(other); err != nil || !info.Mode().IsRegular() {
		return
	}
	if b, err := os.ReadFile(other); err == nil {
		put(path, string(b))
	}
}

// put writes a file, and not a FIFO, which would wait for a reader.
func put(path, text string) {
	if info, err := os.Stat(path); err != nil || info.Mode().IsRegular() {
		_ = os.WriteFile(path, []byte(text), 0o600)
	}
}

var paths = []string{"", "a", "run", "d", "d/a", "d/e", "d/e/f", "d/e/g", "d.x", "empty", "l", "d/l", "new", "d/new", "empty/now"}

func TestRestoredDirectoryEqualsAFreshOne(t *testing.T) {
	top := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		parent := filepath.Join(top, rand.Text())
		if err := os.Mkdir(parent, 0o755); err != nil {
			t.Fatal(err)
		}
		m := memory{}
		dir := filepath.Join(parent, "work")
		now := m.example(t)
		mark := write(t, m, dir, now)
		for range rapid.IntRange(1, 3).Draw(t, "attempts") {
			if err := os.WriteFile(dir+".outside", []byte("aaaa"), 0o644); err != nil {
				t.Fatal(err)
			}
			for range rapid.IntRange(0, 6).Draw(t, "actions") {
				how := rapid.SampledFrom(slices.Sorted(maps.Keys(hostile))).Draw(t, "how")
				path := filepath.Join(dir, rapid.SampledFrom(paths).Draw(t, "path"))
				other := filepath.Join(dir, rapid.SampledFrom(paths).Draw(t, "other"))
				if path == dir && gone(how) {
					continue // a module that removes its own directory: see below
				}
				hostile[how](dir, path, other)
			}
			if err := os.WriteFile(dir+".outside", []byte("aaaa"), 0o644); err != nil {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(t, "another tree") {
				now = m.other(t)
			} else {
				now = m.example(t)
			}
			at := rapid.SampledFrom([]time.Time{firstTime, secondTime}).Draw(t, "time")
			next, stats, err := mark.Restore(t.Context(), dir, now, m, at)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(fresh(t, m, parent, now, at), describe(t, dir)); d != "" {
				t.Fatalf("the directory differs from a fresh one (-fresh +restored):\n%s", d)
			}
			if stats.Kept+stats.Written != now.Len() {
				t.Fatalf("%+v of %d entries", stats, now.Len())
			}
			checkTaken(t, dir, now)
			if b, err := os.ReadFile(dir + ".outside"); err != nil || string(b) != "aaaa" {
				t.Fatalf("a file outside was changed: %q, %v", b, err)
			}
			mark = next
		}
	})
}

// gone reports whether an action replaces its path.
func gone(how string) bool {
	return slices.Contains([]string{"remove", "rename", "swap", "move and back", "link in", "point out", "point up", "same file", "fifo"}, how)
}

func checkTaken(t failer, dir string, want *tree.Tree) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	got, err := tree.Take(t.Context(), root, tree.TakeOptions{})
	if err != nil || got.Root() != want.Root() {
		t.Fatalf("taken: %v, %v", cmp.Diff(want, got), err)
	}
}

func TestUnchangedFilesAreKept(t *testing.T) {
	m := memory{}
	dir := filepath.Join(t.TempDir(), "work")
	files := m.example(t)
	mark := write(t, m, dir, files)
	_, stats, err := mark.Restore(t.Context(), dir, files, m, firstTime)
	if err != nil || stats.Kept != files.Len() || stats.Rebuilt != 0 {
		t.Errorf("%+v, %v", stats, err)
	}
}

func TestReplacedDirectoryIsRefused(t *testing.T) {
	m := memory{}
	dir := filepath.Join(t.TempDir(), "work")
	files := m.example(t)
	mark := write(t, m, dir, files)
	if err := errors.Join(os.Rename(dir, dir+".old"), os.Mkdir(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := mark.Restore(t.Context(), dir, files, m, firstTime); !errors.Is(err, ErrRefused) {
		t.Errorf("%v", err)
	}
}

func TestDirectoryThatDoesNotHoldTheTreeIsRefused(t *testing.T) {
	m := memory{}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	files := newTree(t, m.file("a", "aaaa", tree.Regular))
	if _, err := take(t.Context(), dir, root, want(files)); !errors.Is(err, ErrRefused) {
		t.Errorf("missing: %v", err)
	}
	if err := root.WriteFile("a", []byte("aaa"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := take(t.Context(), dir, root, want(files)); !errors.Is(err, ErrRefused) {
		t.Errorf("shorter: %v", err)
	}
}

func TestFileSystemThatHidesChangesIsRefused(t *testing.T) {
	const shared = "/dev/shm" // a tmpfs on every Linux
	dir := filepath.Join(shared, "reuse-"+rand.Text())
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if _, err := Take(t.Context(), dir, &tree.Tree{}); !errors.Is(err, ErrRefused) {
		t.Errorf("%v", err)
	}
}
