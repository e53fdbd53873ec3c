package tree

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// stocked returns a tree and a shelf with its contents.
func stocked(t testing.TB, files map[string]string) (*Tree, *shelf) {
	t.Helper()
	_, root := layout(t, files)
	store := newShelf()
	return mustTake(t, root, TakeOptions{Keep: store}), store
}

// content returns what is in a directory: like layout, with the targets of links.
func content(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(at string, e fs.DirEntry, err error) error {
		path, _ := filepath.Rel(dir, at)
		switch {
		case err != nil || path == ".":
			return err
		case e.IsDir():
			all[path+"/"] = ""
		case e.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(at)
			all[path] = "-> " + target
			return err
		default:
			b, err := os.ReadFile(at)
			all[path] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var some = map[string]string{"d/f": "content", "d/l": "-> f", "e/": ""}

func TestWriteLeavesWhatIsThereWithTheSameContent(t *testing.T) {
	tree, store := stocked(t, some)
	dir, root := layout(t, some)
	put(t, dir, "d/other", "stays")
	before, err := root.Lstat("d/f")
	if err != nil {
		t.Fatal(err)
	}
	sys := count(time.Hour)
	opts := WriteOptions{Time: time.Unix(1e9, 0), Index: openIndex(t, filepath.Join(t.TempDir(), "index")), system: &sys.system}
	for _, opens := range []int32{1, 0} { // the second time the index knows
		if err := Write(t.Context(), tree, root, store, opts); err != nil {
			t.Fatal(err)
		}
		if got := sys.opens.Swap(0); got != opens {
			t.Errorf("%d reads, expected %d", got, opens)
		}
	}
	after, err := root.Lstat("d/f")
	if err != nil || stampOf(after) != stampOf(before) {
		t.Errorf("the file changed: %v, %v", after, err)
	}
	if diff := cmp.Diff(map[string]string{"d/": "", "d/f": "content", "d/l": "-> f", "d/other": "stays", "e/": ""}, content(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestWriteAndWhatIsInTheWay(t *testing.T) {
	for name, test := range map[string]struct {
		there    map[string]string
		want     []string // words of the error without Replace
		stubborn bool     // Replace does not replace it either
	}{
		"another size":          {map[string]string{"d/f": "long content"}, []string{`"d/f"`, "another file", "12 bytes instead of 7"}, false},
		"other content":         {map[string]string{"d/f": "CONTENT"}, []string{`"d/f"`, "other content"}, false},
		"another mode":          {map[string]string{"d/f": "#!"}, []string{`"d/f"`}, false},
		"a link":                {map[string]string{"d/f": "-> x"}, []string{`"d/f"`, "a link already"}, false},
		"an empty directory":    {map[string]string{"d/f/": ""}, []string{`"d/f"`, "a directory already"}, false},
		"a directory":           {map[string]string{"d/f/x": ""}, []string{`"d/f"`, "a directory already"}, true},
		"a file as directory":   {map[string]string{"d": ""}, []string{`"d"`, "a file already"}, false},
		"a link as directory":   {map[string]string{"d": "-> e", "e/": ""}, []string{`"d"`, "a link already"}, false},
		"a file as empty":       {map[string]string{"e": ""}, []string{`"e"`, "a file already"}, false},
		"another link":          {map[string]string{"d/l": "-> g"}, []string{`"d/l"`, "another link"}, false},
		"a file as link":        {map[string]string{"d/l": "f"}, []string{`"d/l"`, "another file"}, false},
		"a directory as a link": {map[string]string{"d/l/x": "f"}, []string{`"d/l"`, "another directory"}, true},
	} {
		tree, store := stocked(t, some)
		dir, root := layout(t, test.there)
		err := Write(t.Context(), tree, root, store, WriteOptions{})
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error is %v; it should say %s", name, err, want)
			}
		}
		err = Write(t.Context(), tree, root, store, WriteOptions{Replace: true})
		if test.stubborn {
			if err == nil || !strings.Contains(err.Error(), test.want[0]) {
				t.Errorf("%s was replaced: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s is not replaced: %v", name, err)
		}
		if diff := cmp.Diff(map[string]string{"d/": "", "d/f": "content", "d/l": "-> f", "e/": ""}, content(t, dir)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// With any links in the directory, nothing outside it changes, and neither
// does anything in it that the tree does not name.
func TestWriteStaysInsideADirectoryWithHostileLinks(t *testing.T) {
	tree, store := stocked(t, map[string]string{"d/sub/f": "content", "l": "-> d", "f": "content", "e/": ""})
	above := t.TempDir()
	put(t, above, "outside/sub/f", "precious")
	put(t, above, "outside/keep", "precious")
	for name, links := range map[string]map[string]string{
		"relative":     {"d": "-> ../outside", "f": "-> ../outside/keep", "l": "-> ../outside", "e": "-> ../outside"},
		"absolute":     {"d": "-> " + above + "/outside", "f": "-> " + above + "/outside/keep", "l": "-> /", "e": "-> /"},
		"further down": {"d/sub": "-> ../../outside/sub", "f": "-> d/sub/f"},
		"new files":    {"f": "-> ../outside/new", "d/sub/f": "-> ../../../outside/new", "e": "-> ../outside/newdir"},
		"inside":       {"d": "-> mine", "mine/sub/f": "mine", "f": "-> mine/sub/f", "e": "-> mine"},
		"loops":        {"d": "-> d", "f": "-> f", "e": "-> e"},
	} {
		for _, replace := range []bool{false, true} {
			dir := filepath.Join(above, name, map[bool]string{false: "keep", true: "replace"}[replace], "dst")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			// The links climb from dst to above in one step more than they say.
			for path, content := range links {
				put(t, dir, path, strings.Replace(content, "../outside", "../../../outside", 1))
			}
			err := Write(t.Context(), tree, openRoot(t, dir), store, WriteOptions{Replace: replace})
			if replace != (err == nil) {
				t.Errorf("%s, replace %v: %v", name, replace, err)
			}
			if _, err := os.Lstat(filepath.Join(dir, "mine")); err == nil {
				if b, err := os.ReadFile(filepath.Join(dir, "mine/sub/f")); err != nil || string(b) != "mine" {
					t.Errorf("%s: wrote through a link: %q, %v", name, b, err)
				}
			}
		}
	}
	want := map[string]string{"sub/": "", "sub/f": "precious", "keep": "precious"}
	if diff := cmp.Diff(want, content(t, filepath.Join(above, "outside"))); diff != "" {
		t.Errorf("outside changed: %s", diff)
	}
}

// A file that is replaced may have another name somewhere else.
func TestReplaceDoesNotWriteThroughHardLinks(t *testing.T) {
	tree, store := stocked(t, map[string]string{"f": "new"})
	dir, root := layout(t, map[string]string{"other": "old"})
	if err := os.Link(filepath.Join(dir, "other"), filepath.Join(dir, "f")); err != nil {
		t.Fatal(err)
	}
	if err := Write(t.Context(), tree, root, store, WriteOptions{Replace: true}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"f": "new", "other": "old"}, content(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// A tree from others is not checked by New alone: a literal one can claim anything.
func TestWriteOfATreeThatLies(t *testing.T) {
	_, store := stocked(t, map[string]string{"f": "content"})
	for name, file := range map[string]File{
		"a path outside":   {Path: "../x"},
		"an absolute path": {Path: "/tmp/x"},
		"a link outside":   {Path: "l", Kind: Link, Target: "/etc"},
		"a longer size":    {Path: "f", Size: 70, Digest: regular("", "content").Digest},
		"a shorter size":   {Path: "f", Size: 1, Digest: regular("", "content").Digest},
		"no content":       {Path: "f", Size: 1, Digest: Digest{1}},
		"an empty size":    {Path: "f", Size: 0, Digest: regular("", "content").Digest},
		"an empty digest":  {Path: "f", Size: 3, Digest: emptyContent},
	} {
		above := t.TempDir()
		dir := filepath.Join(above, "dst")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		err := Write(t.Context(), &Tree{Files: []File{file}}, openRoot(t, dir), store, WriteOptions{})
		if err == nil || !strings.Contains(err.Error(), "write files: ") {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(map[string]string{"dst/": ""}, content(t, above)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// full is a store whose disk is full after some files.
type full struct {
	*shelf
	left atomic.Int32
}

var errFull = errors.New("no space left on device")

func (f *full) Place(ctx context.Context, d Digest, dst *os.Root, path string, mode fs.FileMode) error {
	if f.left.Add(-1) < 0 {
		return &fs.PathError{Op: "write", Path: path, Err: errFull}
	}
	return f.shelf.Place(ctx, d, dst, path, mode)
}

func TestWriteOnAFullDiskNamesTheFile(t *testing.T) {
	tree, store := stocked(t, map[string]string{"d/a": "1", "d/b": "2", "d/c": "3"})
	dir, root := layout(t, nil)
	disk := &full{shelf: store}
	disk.left.Store(2)
	err := Write(t.Context(), tree, root, disk, WriteOptions{Parallel: 1})
	if !errors.Is(err, errFull) || err.Error() != `write files: write "d/c": no space left on device` {
		t.Errorf("the error is %v", err)
	}
	if diff := cmp.Diff(map[string]string{"d/": "", "d/a": "1", "d/b": "2"}, content(t, dir)); diff != "" {
		t.Error(diff)
	}
	disk.left.Store(3)
	if err := Write(t.Context(), tree, root, disk, WriteOptions{}); err != nil {
		t.Errorf("the second time, with room: %v", err)
	}
}

func TestWriteRefusesNamesThatTheFileSystemCannotTellApart(t *testing.T) {
	for name, test := range map[string]struct {
		paths  []string
		folded []string // what the error names; empty: written everywhere
	}{
		"files":                   {[]string{"Makefile", "makefile"}, []string{`"Makefile"`, `"makefile"`}},
		"both with capitals":      {[]string{"MakeFile", "Makefile"}, []string{`"MakeFile"`, `"Makefile"`}},
		"directories":             {[]string{"Docs/a", "docs/b"}, []string{`"Docs"`, `"docs"`}},
		"directories further in":  {[]string{"x/A/a", "x/a/b"}, []string{`"x/A"`, `"x/a"`}},
		"a directory and a file":  {[]string{"A", "a/b"}, []string{`"A"`, `"a"`}},
		"not in one directory":    {[]string{"x/A", "y/a"}, nil},
		"other letters":           {[]string{"Ä", "ä"}, []string{`"Ä"`, `"ä"`}},
		"capitals that are alone": {[]string{"README", "x/README", "readme.txt"}, nil},
	} {
		var files []File
		for _, path := range test.paths {
			files = append(files, regular(path, ""))
		}
		tree := mustNew(t, files...)
		for _, folds := range []bool{true, false} {
			dir, root := layout(t, nil)
			sys := machine
			sys.foldsCase = func(*os.Root) (bool, error) {
				if test.folded == nil {
					t.Errorf("%s: the file system is asked", name)
				}
				return folds, nil
			}
			err := Write(t.Context(), tree, root, newShelf(), WriteOptions{system: &sys})
			if !folds || test.folded == nil {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			for _, want := range append(test.folded, "differ only in case") {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: the error is %v; it should say %s", name, err, want)
				}
			}
			if got := content(t, dir); len(got) > 0 {
				t.Errorf("%s: wrote %v", name, got)
			}
		}
	}
}

func TestFoldsCaseLeavesNothingBehind(t *testing.T) {
	dir, root := layout(t, nil)
	folds, err := foldsCase(root)
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, dir); len(got) > 0 {
		t.Errorf("left %v", got)
	}
	put(t, dir, "a", "")
	if _, err := root.Lstat("A"); (err == nil) != folds {
		t.Errorf("folds: %v, and A: %v", folds, err)
	}
}

func TestWriteEndsWithItsContext(t *testing.T) {
	tree, store := stocked(t, some)
	cause := errors.New("the attempt was stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := Write(ctx, tree, openRoot(t, t.TempDir()), store, WriteOptions{}); !errors.Is(err, cause) {
		t.Error(err)
	}
}

func TestWriteKeepsTheTimeOfDirectoriesThatWereThere(t *testing.T) {
	tree, store := stocked(t, map[string]string{"there/f": "x", "there/new/f": "y"})
	_, root := layout(t, map[string]string{"there/": ""})
	at := time.Unix(1e9, 0)
	if err := Write(t.Context(), tree, root, store, WriteOptions{Time: at}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"there": false, "there/new": true, "there/f": true} {
		if info, err := root.Lstat(path); err != nil || info.ModTime().Equal(at) != want {
			t.Errorf("%s: %v, %v", path, info.ModTime(), err)
		}
	}
}
