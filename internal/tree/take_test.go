package tree

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestTakeThenWriteGivesTheSameTree(t *testing.T) {
	_, root := layout(t, map[string]string{
		"a/b/c.txt": "c", "a/.hidden": "h", "run.sh": "#!/bin/sh", "empty/": "", "a/link": "-> b/c.txt", "zero": "",
	})
	store := newShelf()
	taken := mustTake(t, root, TakeOptions{Keep: store})
	want := []File{
		regular("a/.hidden", "h"), regular("a/b/c.txt", "c"),
		{Path: "a/link", Kind: Link, Target: "b/c.txt"},
		{Path: "empty", Kind: Directory},
		regular("run.sh", "#!/bin/sh"), regular("zero", ""),
	}
	want[4].Kind = Executable
	if diff := cmp.Diff(want, taken.Files); diff != "" {
		t.Fatal(diff)
	}
	to := openRoot(t, t.TempDir())
	at := time.Unix(1_700_000_000, 5)
	if err := Write(t.Context(), taken, to, store, WriteOptions{Time: at}); err != nil {
		t.Fatal(err)
	}
	again := mustTake(t, to, TakeOptions{})
	if diff := Diff(taken, again); len(diff) > 0 || taken.Root() != again.Root() {
		t.Errorf("the tree that was written differs: %v", diff)
	}
	for _, path := range []string{"a", "a/b", "a/b/c.txt", "empty", "run.sh", "zero"} {
		if info, err := to.Lstat(path); err != nil || !info.ModTime().Equal(at) {
			t.Errorf("%s: %v, %v", path, info.ModTime(), err)
		}
	}
}

// written writes a drawn tree into a new directory. The shelf holds all contents
// that anyFile draws.
func written(t *rapid.T, tree *Tree) (*os.Root, *shelf) {
	dir, err := os.MkdirTemp("", "tree")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	store := newShelf()
	for _, content := range []string{"x", "yy", "z\n"} {
		if _, _, err := store.Add(context.Background(), strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Write(context.Background(), tree, root, store, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return root, store
}

func TestWriteThenTakeGivesTheSameTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree := anyTree().Draw(t, "tree")
		root, store := written(t, tree)
		again, err := Take(context.Background(), root, TakeOptions{Keep: store})
		if err != nil || again.Root() != tree.Root() {
			t.Fatalf("%v: %v", err, Diff(tree, again))
		}
		if err := Write(context.Background(), tree, root, store, WriteOptions{}); err != nil {
			t.Fatalf("writing it again: %v", err)
		}
		if err := Write(context.Background(), tree, root, store, WriteOptions{Replace: true}); err != nil {
			t.Fatalf("replacing it: %v", err)
		}
		if again, err = Take(context.Background(), root, TakeOptions{}); err != nil || again.Root() != tree.Root() {
			t.Fatalf("%v: %v", err, Diff(tree, again))
		}
	})
}

// Taking with patterns, and from a list, gives what selecting from the whole gives.
func TestTakeSelectsAsSelect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree, globs := anyTree().Draw(t, "tree"), anyGlobs().Draw(t, "globs")
		root, _ := written(t, tree)
		want, err := tree.Select(globs)
		if err != nil {
			t.Fatal(err)
		}
		for name, opts := range map[string]TakeOptions{
			"walked": {Patterns: globs},
			"listed": {Patterns: globs, Paths: listOf(rapid.Permutation(paths(tree)).Draw(t, "list")...)},
		} {
			got, err := Take(context.Background(), root, opts)
			if err != nil || got.Root() != want.Root() {
				t.Fatalf("%s with %q: %v: %v", name, globs, err, Diff(want, got))
			}
		}
	})
}

func listOf(paths ...string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, p := range paths {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func TestTakeRefuses(t *testing.T) {
	outside := t.TempDir()
	for name, test := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"an absolute link":      {map[string]string{"a/l": "-> " + outside}, []string{`"a/l"`, outside, "absolute"}},
		"a link outside":        {map[string]string{"a/l": "-> ../../x"}, []string{`"a/l"`, `"../../x"`, "leads outside"}},
		"a link with a detour":  {map[string]string{"d/f": "", "l": "-> d/../../x"}, []string{`"l"`, "after a name"}},
		"a file name not UTF-8": {map[string]string{"a/\xff": ""}, []string{`"a/\xff"`, "not UTF-8"}},
		"a directory not UTF-8": {map[string]string{"a/\xff/b": ""}, []string{`"a/\xff"`, "not UTF-8"}},
		"a target not UTF-8":    {map[string]string{"l": "-> \xff"}, []string{`"l"`, "not UTF-8"}},
	} {
		_, root := layout(t, test.files)
		_, err := Take(t.Context(), root, TakeOptions{})
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error is %v; it should say %s", name, err, want)
			}
		}
		if got := mustTake(t, root, TakeOptions{Patterns: []string{"other"}}); got.Len() > 0 {
			t.Errorf("%s: took %v, which no pattern selects", name, paths(got))
		}
	}
}

// unlike is a file as lstat would show it with another mode.
type unlike struct {
	fs.FileInfo
	mode fs.FileMode
}

func (u unlike) Mode() fs.FileMode { return u.mode }

func TestTakeRefusesSpecialFiles(t *testing.T) {
	_, root := layout(t, map[string]string{"a/special": ""})
	for mode, want := range map[fs.FileMode]string{
		fs.ModeDevice:                     "it is a device",
		fs.ModeDevice | fs.ModeCharDevice: "it is a device",
		fs.ModeSocket:                     "it is a socket",
		fs.ModeNamedPipe:                  "it is a FIFO",
		fs.ModeIrregular:                  "it is a special file",
	} {
		sys := machine
		sys.lstat = func(dir *os.Root, name string) (fs.FileInfo, error) {
			info, err := dir.Lstat(name)
			return unlike{info, mode}, err
		}
		_, err := Take(t.Context(), root, TakeOptions{system: &sys})
		if err == nil || !strings.Contains(err.Error(), `"a/special" is refused: `+want) {
			t.Errorf("the error is %v; it should say that %s", err, want)
		}
	}
}

func TestTakeNamesTheFileThatCannotBeRead(t *testing.T) {
	_, root := layout(t, map[string]string{"a/b": "x", "c": "y"})
	for _, fault := range []error{fs.ErrPermission, errors.New("input/output error")} {
		sys := machine
		sys.open = func(dir *os.Root, name string) (fs.File, error) {
			if name == "b" {
				return nil, &fs.PathError{Op: "openat", Path: name, Err: fault}
			}
			return machine.open(dir, name)
		}
		_, err := Take(t.Context(), root, TakeOptions{system: &sys})
		if want := `take files: read "a/b": ` + fault.Error(); err == nil || err.Error() != want || !errors.Is(err, fault) {
			t.Errorf("the error is %v, and should be %s", err, want)
		}
		sys = machine
		sys.lstat = func(dir *os.Root, name string) (fs.FileInfo, error) {
			if name == "b" {
				return nil, fault
			}
			return dir.Lstat(name)
		}
		if _, err := Take(t.Context(), root, TakeOptions{system: &sys, Patterns: []string{"a"}}); !errors.Is(err, fault) || !strings.Contains(err.Error(), `"a/b"`) {
			t.Errorf("the error is %v", err)
		}
	}
}

// brokenFile fails while it is read.
type brokenFile struct{ fs.File }

func (f brokenFile) Read(b []byte) (int, error) {
	n, _ := f.File.Read(b[:1])
	return n, &fs.PathError{Op: "read", Path: "b", Err: errors.New("input/output error")}
}

func TestTakeNamesTheFileWhoseDiskFails(t *testing.T) {
	_, root := layout(t, map[string]string{"a/b": "xxx"})
	sys := machine
	sys.open = func(dir *os.Root, name string) (fs.File, error) {
		f, err := machine.open(dir, name)
		return brokenFile{f}, err
	}
	_, err := Take(t.Context(), root, TakeOptions{system: &sys})
	if want := `take files: read "a/b": input/output error`; err == nil || err.Error() != want {
		t.Errorf("the error is %v, and should be %s", err, want)
	}
}

// changing calls change after each read of the file b has begun.
func changing(change func(n int32)) *system {
	sys := machine
	var opened atomic.Int32
	sys.open = func(dir *os.Root, name string) (fs.File, error) {
		f, err := machine.open(dir, name)
		if err == nil && name == "b" {
			return &changingFile{File: f, change: func() { change(opened.Add(1)) }}, nil
		}
		return f, err
	}
	return &sys
}

type changingFile struct {
	fs.File
	change func()
}

func (f *changingFile) Read(b []byte) (int, error) {
	if f.change != nil {
		f.change()
		f.change = nil
	}
	return f.File.Read(b)
}

func TestTakeReadsAFileThatChangesAgain(t *testing.T) {
	dir, root := layout(t, map[string]string{"a/b": "1", "c": ""})
	at := filepath.Join(dir, "a/b")
	sys := changing(func(n int32) {
		switch n {
		case 1: // longer
			put(t, dir, "a/b", "22")
		case 2: // another file
			put(t, dir, "new", "333")
			if err := os.Rename(filepath.Join(dir, "new"), at); err != nil {
				t.Error(err)
			}
		}
	})
	got := mustTake(t, root, TakeOptions{system: sys})
	if f, _ := got.Find("a/b"); f != regular("a/b", "333") {
		t.Errorf("took %v", f)
	}
}

func TestTakeGivesUpOnAFileThatAlwaysChanges(t *testing.T) {
	dir, root := layout(t, map[string]string{"a/b": "1", "c": ""})
	reads := int32(0)
	sys := changing(func(n int32) {
		reads = n
		put(t, dir, "a/b", strings.Repeat("x", int(n)+1))
	})
	_, err := Take(t.Context(), root, TakeOptions{system: sys})
	if err == nil || !strings.Contains(err.Error(), `"a/b" changed each of the 3 times it was read`) || reads != 3 {
		t.Errorf("after %d reads: %v", reads, err)
	}
}

// The reader of a file that became a FIFO, or another kind, must not wait for a FIFO, nor
// follow a link.
func TestTakeNoticesAFileThatBecameALink(t *testing.T) {
	dir, root := layout(t, map[string]string{"b": "1", "secret": "2"})
	sys := machine
	sys.open = func(root *os.Root, name string) (fs.File, error) {
		if name == "b" {
			if err := errors.Join(os.Remove(filepath.Join(dir, "b")), os.Symlink("secret", filepath.Join(dir, "b"))); err != nil {
				t.Error(err)
			}
		}
		return machine.open(root, name)
	}
	got, err := Take(t.Context(), root, TakeOptions{system: &sys})
	if err != nil {
		t.Fatal(err)
	}
	if f, _ := got.Find("b"); f.Kind != Link || f.Target != "secret" {
		t.Errorf("took %v", f)
	}
}

func TestTakeLeavesOutWhatDisappears(t *testing.T) {
	dir, root := layout(t, map[string]string{"a/b": "1", "c": ""})
	sys := machine
	sys.open = func(root *os.Root, name string) (fs.File, error) {
		if name == "b" {
			if err := os.Remove(filepath.Join(dir, "a/b")); err != nil {
				t.Error(err)
			}
		}
		return machine.open(root, name)
	}
	got := mustTake(t, root, TakeOptions{system: &sys})
	if diff := cmp.Diff([]string{"c"}, paths(got)); diff != "" {
		t.Error(diff)
	}
}

func TestTakeSkips(t *testing.T) {
	_, root := layout(t, map[string]string{
		".git/config": "", "sub/.git": "gitdir", "sub/a": "", "node_modules/x/y": "", "z.log": "", "only/z.log": "", ".gitignore": "",
	})
	skip := func(path string, dir bool) bool {
		return dir && path == "node_modules" || !dir && strings.HasSuffix(path, ".log")
	}
	want := []string{".gitignore", "sub/a"}
	for name, opts := range map[string]TakeOptions{
		"walked": {},
		"listed": {Paths: listOf(".git/config", "sub/.git", "sub/a", "node_modules/x/y", "z.log", "only/z.log", ".gitignore")},
		"nested": {Paths: listOf(".git/", "sub", "node_modules", "z.log", "only/", ".gitignore", "sub/a")},
	} {
		opts.Skip, opts.SkipGit = skip, true
		if name == "nested" {
			opts.Skip = func(path string, dir bool) bool { return path == "node_modules" || skip(path, dir) }
		}
		if diff := cmp.Diff(want, paths(mustTake(t, root, opts))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestTakeTellsWhatItFinds(t *testing.T) {
	_, root := layout(t, map[string]string{"a/b": "12", "a/c": "3", "d": "4", "e/": "", "l": "-> d"})
	for name, list := range map[string]iter.Seq2[string, error]{"walked": nil, "listed": listOf("a/b", "a/c", "d", "e", "l")} {
		found := map[string]int64{}
		got := mustTake(t, root, TakeOptions{Paths: list, Patterns: []string{"**", "!d"}, Found: func(path string, size int64) bool {
			found[path] = size
			return path != "a/c"
		}})
		if diff := cmp.Diff([]string{"a/b", "e", "l"}, paths(got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(map[string]int64{"a/b": 2, "a/c": 1, "l": 0}, found); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestTakeOfAList(t *testing.T) {
	_, root := layout(t, map[string]string{
		"a/b/c": "1", "a/d": "2", "e": "3", "link": "-> a", "empty/": "", "nested/f": "4",
	})
	list := []string{"e", "a/d", "a/b/c", "a/b/c", "gone", "gone/x", "e/x", "link/d", "link", "empty", "nested/"}
	got := mustTake(t, root, TakeOptions{Paths: listOf(list...)})
	if diff := cmp.Diff([]string{"a/b/c", "a/d", "e", "empty", "link", "nested/f"}, paths(got)); diff != "" {
		t.Error(diff)
	}
	got = mustTake(t, root, TakeOptions{Paths: listOf(list...), Patterns: []string{"nested/f", "a/*", "!a/b"}})
	if diff := cmp.Diff([]string{"a/d", "nested/f"}, paths(got)); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"../x", "/etc/passwd", "", "a//b", "\xff"} {
		if _, err := Take(t.Context(), root, TakeOptions{Paths: listOf("e", bad)}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	fault := errors.New("git ended with status 128")
	_, err := Take(t.Context(), root, TakeOptions{Paths: func(yield func(string, error) bool) { yield("", fault) }})
	if !errors.Is(err, fault) {
		t.Error(err)
	}
}

func TestTakeEndsWithItsContext(t *testing.T) {
	_, root := layout(t, map[string]string{"a": "1", "b": "2"})
	cause := errors.New("the run was cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := Take(ctx, root, TakeOptions{}); !errors.Is(err, cause) {
		t.Errorf("walking: %v", err)
	}
	if _, err := Take(ctx, root, TakeOptions{Paths: listOf("a")}); !errors.Is(err, cause) {
		t.Errorf("listing: %v", err)
	}
	ctx, cancel = context.WithCancelCause(t.Context())
	sys := changing(func(int32) { cancel(cause) })
	if _, err := Take(ctx, root, TakeOptions{system: sys}); !errors.Is(err, cause) {
		t.Errorf("reading: %v", err)
	}
}

// refuses is a store that adds nothing and places nothing.
type refuses struct {
	*shelf
	err error
}

func (r refuses) Add(context.Context, io.Reader) (Digest, int64, error) { return Digest{}, 0, r.err }

func TestTakeReportsWhatTheStoreRefuses(t *testing.T) {
	_, root := layout(t, map[string]string{"a/b": "1"})
	full := errors.New("file store /x: no space left on device")
	_, err := Take(t.Context(), root, TakeOptions{Keep: refuses{newShelf(), full}})
	if !errors.Is(err, full) || !strings.Contains(err.Error(), `"a/b"`) {
		t.Errorf("the error is %v", err)
	}
}

func TestTakeReadsDeepAndWideDirectories(t *testing.T) {
	deep := strings.Repeat("d/", 254) + "f"
	files := map[string]string{deep: "x"}
	var want []string
	for i := range 300 {
		path := "wide/" + strings.Repeat("w", i%200+1) + string(rune('a'+i/200))
		files[path] = path
		want = append(want, path)
	}
	_, root := layout(t, files)
	store := newShelf()
	got := mustTake(t, root, TakeOptions{Keep: store, Parallel: 3})
	slices.Sort(want)
	if diff := cmp.Diff(append([]string{deep}, want...), paths(got)); diff != "" {
		t.Error(diff)
	}
	to := openRoot(t, t.TempDir())
	if err := Write(t.Context(), got, to, store, WriteOptions{Parallel: 3, Time: time.Unix(1e9, 0)}); err != nil {
		t.Fatal(err)
	}
	if again := mustTake(t, to, TakeOptions{}); again.Root() != got.Root() {
		t.Error(Diff(got, again))
	}
}
