package tree

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// anyFile draws an entry at a path of a few short names, so that paths collide.
func anyFile() *rapid.Generator[File] {
	name := rapid.SampledFrom([]string{"a", "b", "c", "A", "a-", "a.txt", ".git", ".x", "ü", "a b", "*", "!a", `\`})
	return rapid.Custom(func(t *rapid.T) File {
		f := File{Path: strings.Join(rapid.SliceOfN(name, 1, 4).Draw(t, "names"), "/")}
		f.Kind = Kind(rapid.IntRange(0, 3).Draw(t, "kind"))
		switch f.Kind {
		case Regular, Executable:
			content := regular("", rapid.SampledFrom([]string{"", "x", "yy", "z\n"}).Draw(t, "content"))
			f.Size, f.Digest = content.Size, content.Digest
		case Link:
			f.Target = rapid.SampledFrom([]string{"a", "./b/", "nothing//here", strings.Repeat("../", strings.Count(f.Path, "/")) + "c"}).Draw(t, "target")
		case Directory:
		}
		return f
	})
}

// anyTree draws a tree. Of files that do not fit together it keeps the first.
func anyTree() *rapid.Generator[*Tree] {
	return rapid.Custom(func(t *rapid.T) *Tree {
		var files []File
		for _, f := range rapid.SliceOfN(anyFile(), 0, 12).Draw(t, "files") {
			if _, err := New(append(slices.Clone(files), f)); err == nil {
				files = append(files, f)
			}
		}
		tree, err := New(files)
		if err != nil {
			t.Fatal(err)
		}
		return tree
	})
}

func TestNewRefusesWhatNoTreeMayHold(t *testing.T) {
	long := strings.Repeat("n", 256)
	deep := strings.Repeat("d/", 255) + "f"
	link := func(path, target string) []File { return []File{{Path: path, Kind: Link, Target: target}} }
	for _, test := range []struct {
		files []File
		want  string
	}{
		{[]File{{Path: ""}}, "it is empty"},
		{[]File{{Path: "/etc/passwd"}}, "it is absolute"},
		{[]File{{Path: "a/../b"}}, "it leads upwards"},
		{[]File{{Path: ".."}}, "it leads upwards"},
		{[]File{{Path: "./a"}}, "it is not clean"},
		{[]File{{Path: "a//b"}}, "it has an empty name"},
		{[]File{{Path: "a/"}}, "it has an empty name"},
		{[]File{{Path: "a\xff"}}, `the path "a\xff" is refused: it is not UTF-8`},
		{[]File{{Path: "a\x00"}}, "zero byte"},
		{[]File{{Path: long}}, "a name in it is longer than 255 bytes"},
		{[]File{{Path: strings.Repeat("d/", 2048) + "f"}}, "longer than 4096 bytes"},
		{[]File{{Path: deep}}, "more than 255 directories deep"},
		{[]File{{Path: "a", Size: -1}}, `"a" has a size of -1 bytes`},
		{[]File{{Path: "a", Kind: 9}}, "unknown kind"},
		{[]File{{Path: "a", Target: "b"}}, "with a link target"},
		{[]File{{Path: "a", Kind: Directory, Size: 1}}, "a directory with content"},
		{[]File{{Path: "a"}, {Path: "b"}, {Path: "a"}}, `"a" is in the tree twice`},
		{[]File{{Path: "a"}, {Path: "a-"}, {Path: "a/b/c"}}, `"a/b/c" is below "a", which is a file`},
		{[]File{{Path: "l", Kind: Link, Target: "x"}, {Path: "l/b"}}, `"l/b" is below "l", which is a link`},
		{link("l", ""), "it has no target"},
		{link("l", "/etc/passwd"), `the link "l" to "/etc/passwd" is refused: its target is absolute`},
		{link("a/l", "../../x"), "its target leads outside"},
		{link("a/l", ".././.."), "its target leads outside"},
		{link("l", "a/../../x"), "goes upwards after a name"},
		{link("l", "a/.."), "goes upwards after a name"},
		{link("l", "a\xff"), "its target is not UTF-8"},
		{link("l", "a\x00"), "zero byte"},
		{link("l", strings.Repeat("x/", 2048)), "longer than 4095 bytes"},
	} {
		_, err := New(test.files)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.80v: the error is %v; it should say %q", test.files, err, test.want)
		}
	}
}

func TestNewAcceptsLinksThatStayInside(t *testing.T) {
	for path, target := range map[string]string{
		"l": ".", "a/l": "..", "a/b/l": "../../c", "m": "./a//b/", "dangling": "nothing", "self": "self",
	} {
		if _, err := New([]File{{Path: path, Kind: Link, Target: target}}); err != nil {
			t.Error(err)
		}
	}
}

func TestNewLeavesOutDirectoriesThatAreNotEmpty(t *testing.T) {
	tree := mustNew(t, regular("a/b/c", ""), File{Path: "a", Kind: Directory}, File{Path: "d", Kind: Directory}, File{Path: "a/b", Kind: Directory})
	if diff := cmp.Diff([]string{"a/b/c", "d"}, paths(tree)); diff != "" {
		t.Error(diff)
	}
}

// The digest of a tree is in logs and caches: a change of it is a new version of
// the encoding.
func TestRootIsWhatItWas(t *testing.T) {
	tree := mustNew(t, regular("a/b", "x"), File{Path: "a/l", Kind: Link, Target: "b"}, File{Path: "e", Kind: Directory}, regular("z", ""))
	for tree, want := range map[*Tree]string{
		{}:   "7606b613fbce123e031e7fe1220637cf8f303f379148a470c703cf4ef798acb3",
		tree: "524d42f1b9a3e46c15359be91c7ffa3ee33b6a1afc70b8a45ac4948ed3ab1d1c",
	} {
		if got := tree.Root().String(); got != want {
			t.Errorf("the root of %v is %s, and was %s", paths(tree), got, want)
		}
	}
}

func TestRootDoesNotDependOnTheOrderOfFiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree := anyTree().Draw(t, "tree")
		again, err := New(rapid.Permutation(tree.Files).Draw(t, "files"))
		if err != nil {
			t.Fatal(err)
		}
		if tree.Root() != again.Root() {
			t.Fatal("the order of the files changed the root")
		}
	})
}

func TestTreesWithOneRootAreEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyTree().Draw(t, "a"), anyTree().Draw(t, "b")
		if same := slices.Equal(a.Files, b.Files); same != (a.Root() == b.Root()) || same != (len(Diff(a, b)) == 0) {
			t.Fatalf("equal: %v, roots %v and %v, differences %v", same, a.Root(), b.Root(), Diff(a, b))
		}
	})
}

// The root of a tree commits to the digests of its directories: a directory moved
// to the top has the digest that it has below.
func TestRootIsBuiltFromTheNodesOfDirectories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree := anyTree().Draw(t, "tree")
		below, err := tree.Below("p")
		if err != nil {
			t.Fatal(err)
		}
		parent := newNode("")
		if tree.Len() > 0 {
			parent.add("p", &File{Kind: Directory, Digest: tree.Root()})
		}
		if got := below.Root(); got != parent.sum() {
			t.Fatalf("the root of the tree below p is %v; its one entry gives %v", got, parent.sum())
		}
	})
}

func TestFindAndSizes(t *testing.T) {
	tree := mustNew(t, regular("a", "12"), regular("b", "345"), File{Path: "c", Kind: Directory})
	if tree.Len() != 3 || tree.Size() != 5 {
		t.Errorf("%d entries, %d bytes", tree.Len(), tree.Size())
	}
	if f, ok := tree.Find("b"); !ok || f != regular("b", "345") {
		t.Errorf("found %v, %v", f, ok)
	}
	if f, ok := tree.Find("bb"); ok {
		t.Errorf("found %v", f)
	}
}

func TestDigestsAreParsedAsTheyArePrinted(t *testing.T) {
	d := regular("", "x").Digest
	if got, err := ParseDigest(d.String()); err != nil || got != d {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", "xyz", d.String()[1:], strings.Repeat("g", 64), d.String() + "00"} {
		if _, err := ParseDigest(s); err == nil {
			t.Errorf("%q was parsed", s)
		}
	}
}

func TestKindsHaveNames(t *testing.T) {
	if got := fmt.Sprint(Regular, Executable, Directory, Link, Kind(7)); got != "file executable file directory link kind 7" {
		t.Error(got)
	}
}
