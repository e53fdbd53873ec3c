package tree

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestDiffNamesWhatChanged(t *testing.T) {
	a := mustNew(t, regular("same", ""), regular("gone", ""), regular("content", "x"), regular("kind", "x"))
	exe := regular("kind", "x")
	exe.Kind = Executable
	b := mustNew(t, regular("same", ""), regular("new", ""), regular("content", "y"), exe)
	var got []string
	for _, c := range Diff(a, b) {
		got = append(got, c.String())
	}
	if diff := cmp.Diff([]string{"~ content", "- gone", "~ kind", "+ new"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestDiffTurnsOneTreeIntoTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyTree().Draw(t, "a"), anyTree().Draw(t, "b")
		files := map[string]File{}
		for _, f := range a.Files {
			files[f.Path] = f
		}
		for _, c := range Diff(a, b) {
			if was, ok := files[c.Path]; ok != (c.Before != nil) || ok && was != *c.Before {
				t.Fatalf("%v: before is %v, and was %v", c, c.Before, was)
			}
			delete(files, c.Path)
			if c.After != nil {
				files[c.Path] = *c.After
			}
		}
		var all []File
		for _, f := range files {
			all = append(all, f)
		}
		got, err := New(all)
		if err != nil || got.Root() != b.Root() {
			t.Fatalf("got %v, %v", got, err)
		}
	})
}

func TestBelowMovesEverything(t *testing.T) {
	tree := mustNew(t, regular("a-", ""), regular("a/b", ""), File{Path: "a/l", Kind: Link, Target: "../a-"})
	got, err := tree.Below("x/y/")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"x/y/a-", "x/y/a/b", "x/y/a/l"}, paths(got)); diff != "" {
		t.Error(diff)
	}
	for _, nowhere := range []string{"", "."} {
		if got, err := tree.Below(nowhere); err != nil || got.Root() != tree.Root() {
			t.Errorf("below %q: %v, %v", nowhere, got, err)
		}
	}
	for _, prefix := range []string{"..", "/x", "a/../b", "./a", strings.Repeat("d/", 254) + "d"} {
		if _, err := tree.Below(prefix); err == nil {
			t.Errorf("below %.20q is accepted", prefix)
		}
	}
}

func TestMergeJoinsParts(t *testing.T) {
	got, err := Merge(
		Named{"t-1", mustNew(t, regular("out/a", "1"), regular("same", "x"), File{Path: "d", Kind: Directory})},
		Named{"t-2", mustNew(t, regular("out/b", "2"), regular("same", "x"), regular("d/f", ""))},
		Named{"t-3", mustNew(t)},
	)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"d/f", "out/a", "out/b", "same"}, paths(got)); diff != "" {
		t.Error(diff)
	}
}

func TestMergeRefusesTwoContentsAtOnePath(t *testing.T) {
	for _, test := range []struct{ a, b File }{
		{regular("out/x", "1"), regular("out/x", "2")},
		{regular("out/x", "1"), File{Path: "out/x", Kind: Executable, Size: 1, Digest: regular("", "1").Digest}},
		{regular("out/x", "1"), File{Path: "out/x", Kind: Link, Target: "y"}},
		{regular("out/x", "1"), File{Path: "out/x", Kind: Directory}},
		{regular("out/x", "1"), regular("out/x/y/z", "1")},
		{regular("out/x/y/z", "1"), File{Path: "out/x", Kind: Link, Target: "y"}},
		{File{Path: "out/x", Kind: Link, Target: "z"}, File{Path: "out/x", Kind: Link, Target: "y"}},
	} {
		_, err := Merge(Named{"none", mustNew(t)}, Named{"t-1", mustNew(t, test.a)}, Named{"t-2", mustNew(t, test.b)})
		for _, want := range []string{`"out/x"`, "t-1", "t-2"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v and %v: the error is %v; it should name %s", test.a, test.b, err, want)
			}
		}
	}
}

// Merging does not depend on the order of the parts, nor does its failure.
func TestMergeKeepsItsLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyTree().Draw(t, "a"), anyTree().Draw(t, "b")
		ab, err1 := Merge(Named{"a", a}, Named{"b", b})
		ba, err2 := Merge(Named{"b", b}, Named{"a", a})
		if (err1 == nil) != (err2 == nil) || err1 == nil && ab.Root() != ba.Root() {
			t.Fatalf("%v, %v; %v, %v", ab, err1, ba, err2)
		}
		if err1 != nil {
			return
		}
		for _, c := range Diff(a, ab) {
			if c.After == nil && c.Before.Kind != Directory || c.Before != nil && c.After != nil {
				t.Fatalf("merging changed %v", c)
			}
		}
		if twice, err := Merge(Named{"a", ab}, Named{"b", ab}); err != nil || twice.Root() != ab.Root() {
			t.Fatalf("merging a tree with itself: %v, %v", twice, err)
		}
	})
}
