package tree

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestSelect(t *testing.T) {
	tree := mustNew(t,
		regular(".env", ""), regular("bin/.keep", ""), regular("bin/app", ""), regular("bin/app.o", ""), regular("bin/x/y.o", ""),
		File{Path: "empty", Kind: Directory}, File{Path: "link", Kind: Link, Target: "bin"}, regular("src/a.go", ""), regular("src/sub/b.go", ""),
	)
	for _, test := range []struct {
		globs string
		want  string
	}{
		{"**", ".env bin/.keep bin/app bin/app.o bin/x/y.o empty link src/a.go src/sub/b.go"},
		{".", ".env bin/.keep bin/app bin/app.o bin/x/y.o empty link src/a.go src/sub/b.go"},
		{"*", ".env bin/.keep bin/app bin/app.o bin/x/y.o empty link src/a.go src/sub/b.go"},
		{"bin", "bin/.keep bin/app bin/app.o bin/x/y.o"},
		{"./bin/", "bin/.keep bin/app bin/app.o bin/x/y.o"},
		{"bin/*", "bin/.keep bin/app bin/app.o bin/x/y.o"},
		{"bin/*.o", "bin/app.o"},
		{"**/*.o", "bin/app.o bin/x/y.o"},
		{"bin !**/*.o", "bin/.keep bin/app"},
		{"bin !bin/x", "bin/.keep bin/app bin/app.o"},
		{"bin !bin/** bin/x", "bin/x/y.o"},
		{"!bin bin", "bin/.keep bin/app bin/app.o bin/x/y.o"},
		{"!bin", ""},
		{"", ""},
		{"link/**", "link"},
		{"link/*", ""},
		{"empty", "empty"},
		{"empty/**", "empty"},
		{"**/.*", ".env bin/.keep"},
		{"{bin,src}/a*", "bin/app bin/app.o src/a.go"},
		{"{bin/x,src/sub}", "bin/x/y.o src/sub/b.go"},
		{"src/[ab].go", "src/a.go"},
		{"src/**/*.go", "src/a.go src/sub/b.go"},
		{`src/\a.go`, "src/a.go"},
		{"nothing", ""},
	} {
		got, err := tree.Select(strings.Fields(test.globs))
		if err != nil {
			t.Errorf("%s: %v", test.globs, err)
			continue
		}
		if diff := cmp.Diff(strings.Fields(test.want), paths(got)); diff != "" {
			t.Errorf("%s: %s", test.globs, diff)
		}
	}
}

func TestPatternsAreRefused(t *testing.T) {
	for glob, want := range map[string]string{
		"":       `the glob "" is refused: it is empty`,
		"!":      "it is empty",
		"/a":     "it is absolute",
		"!/a":    "it is absolute",
		"../a":   "leads upwards",
		"a/../b": "leads upwards",
		"[a":     "malformed",
		"{a":     "malformed",
		`a\`:     "malformed",
		"a\xff*": "not UTF-8",
	} {
		if _, err := ParsePatterns([]string{"ok", glob}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v; it should say %q", glob, err, want)
		}
	}
}

func TestUnmatchedNamesTheGlobsThatMatchNothing(t *testing.T) {
	p, err := ParsePatterns([]string{"./bin/", "lib/*.a", "!*.o", "!bin/app", "src"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"lib/*.a", "src"}, p.Unmatched(mustNew(t, regular("bin/app", "")))); diff != "" {
		t.Error(diff)
	}
}

// anyGlobs draws globs over the names of anyFile.
func anyGlobs() *rapid.Generator[[]string] {
	names := rapid.SampledFrom([]string{"a", "b", "c", "A", "a-", "*", "**", "?", "a*", "[ab]", "{a,b}", "{a/b,c}", "{a,**}", `\*`, "*.txt", ".*", "a**"})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
		glob := strings.Join(rapid.SliceOfN(names, 1, 3).Draw(t, "names"), "/")
		if rapid.IntRange(0, 2).Draw(t, "exclude") == 0 {
			return "!" + glob
		}
		return glob
	}), 1, 4)
}

func TestSelectKeepsItsLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree, globs := anyTree().Draw(t, "tree"), anyGlobs().Draw(t, "globs")
		choose := func(from *Tree, globs ...string) []string {
			got, err := from.Select(globs)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := New(slices.Clone(got.Files)); err != nil {
				t.Fatalf("the selection is no tree: %v", err)
			}
			return paths(got)
		}
		some, err := tree.Select(globs)
		if err != nil {
			t.Fatal(err)
		}
		if got := choose(some, globs...); !slices.Equal(got, paths(some)) {
			t.Fatalf("a selection selects %v of itself, %v", got, paths(some))
		}
		if got := choose(tree, append(globs, "**")...); !slices.Equal(got, paths(tree)) {
			t.Fatalf("a last ** selects %v of %v", got, paths(tree))
		}
		if got := choose(tree, append(globs, "!**")...); len(got) > 0 {
			t.Fatalf("a last !** selects %v", got)
		}
		if got := choose(tree, append([]string{"!a"}, globs...)...); !slices.Equal(got, paths(some)) {
			t.Fatalf("a first !a changes the selection to %v", got)
		}
	})
}

// Take does not read directories in which nothing is selected.
func TestPatternsFindTheDirectoriesOfWhatTheySelect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree, globs := anyTree().Draw(t, "tree"), anyGlobs().Draw(t, "globs")
		p, err := ParsePatterns(globs)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths(tree) {
			for dir := parent(path); p.Match(path) && dir != ""; dir = parent(dir) {
				if !p.Match(dir) && !p.below(dir) {
					t.Fatalf("%v select %q, and nothing below %q", globs, path, dir)
				}
			}
		}
	})
}

func TestPatternsPruneDirectories(t *testing.T) {
	for _, test := range []struct {
		globs, dir string
		want       bool
	}{
		{"bin/*.o", "bin", true},
		{"bin/*.o", "src", false},
		{"bin/*.o", "bin/x", false},
		{"bin/*.o", "bin/x.o", true}, // a directory that matches
		{"bin/a/*", "bin/b", false},
		{"** !node_modules", "node_modules", false},
		{"** !node_modules", "node_modules/a", false},
		{"** !node_modules node_modules/a/**", "node_modules", true},
		{"** !node_modules node_modules/a/**", "node_modules/b", false},
		{"** !node_modules node_modules/a/**", "node_modules/a/b", true},
		{"{a/b,c}/d", "x", true}, // braces may hold anything
		{"x/{a,b}", "y", false},
		{"!**", "x", false},
	} {
		p, err := ParsePatterns(strings.Fields(test.globs))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.below(test.dir); got != test.want {
			t.Errorf("%s below %s: %v", test.globs, test.dir, got)
		}
	}
}
