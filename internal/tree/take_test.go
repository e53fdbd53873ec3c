package tree

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTakeThenWriteGivesTheSameTree(t *testing.T) {
	_, root := layout(t, map[string]string{
		"a/b/c.txt": "c", "a/.hidden": "h", "run.sh": "#!/bin/sh", "empty/": "", "a/link": "-> b/c.txt", "zero": "",
	})
	store := newShelf()
	taken := mustTake(t, root, TakeOptions{Keep: store})
	want := []File{
		regular("a/.hidden", "h"), regular("a/b/c.txt", "c"), {Path: "a/link", Kind: Link, Target: "b/c.txt"},
		{Path: "empty", Kind: Directory}, regular("run.sh", "#!/bin/sh"), regular("zero", ""),
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
	for _, path := range []string{"a", "a/b", "a/b/c.txt", "empty", "run.sh"} {
		if info, err := to.Lstat(path); err != nil || !info.ModTime().Equal(at) {
			t.Errorf("%s: %v, %v", path, info.ModTime(), err)
		}
	}
}
