package tree

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
)

// Patterns is a list of globs that selects paths. ParsePatterns creates it; the
// zero value selects nothing.
//
// A glob follows doublestar: `*` and `?` match within one name, `**` any number of
// directories, `[a-z]` a character, `{a,b}` either, and `\` takes the next
// character as it is. Hidden files are files like others. A glob that matches a
// directory selects everything below it. A glob after `!` excludes. Of the globs
// that match a path, the last one decides.
type Patterns struct {
	globs []glob
}

type glob struct {
	text    string   // as it was written
	pattern string   // clean, without "!"
	exclude bool     // it began with "!"
	names   []string // what a path below which something matches begins with
	open    bool     // any names may follow names; otherwise nothing longer matches
}

// ParsePatterns parses globs. An error names the glob: a malformed one, or one
// that is absolute, leads upwards or is empty.
func ParsePatterns(globs []string) (Patterns, error) {
	var p Patterns
	for _, text := range globs {
		g, err := parseGlob(text)
		if err != nil {
			return Patterns{}, fmt.Errorf("the glob %q is refused: %w", text, err)
		}
		p.globs = append(p.globs, g)
	}
	return p, nil
}

func parseGlob(text string) (glob, error) {
	pattern, exclude := strings.CutPrefix(text, "!")
	switch {
	case pattern == "":
		return glob{}, errors.New("it is empty")
	case strings.HasPrefix(pattern, "/"):
		return glob{}, errors.New("it is absolute; globs are relative to the top directory")
	case slices.Contains(strings.Split(pattern, "/"), ".."):
		return glob{}, errors.New(`it leads upwards ("..")`)
	case !utf8.ValidString(pattern):
		return glob{}, errors.New("it is not UTF-8")
	case !doublestar.ValidatePattern(pattern):
		return glob{}, errors.New("it is malformed")
	}
	if pattern = path.Clean(pattern); pattern == "." {
		pattern = "**"
	}
	g := glob{text: text, pattern: pattern, exclude: exclude}
	plain := pattern
	if i := strings.IndexAny(pattern, `{[\`); i >= 0 {
		plain, g.open = pattern[:strings.LastIndexByte(pattern[:i], '/')+1], true
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(plain, "/"), "/") {
		if strings.Contains(name, "**") {
			g.open = true
			break
		}
		if name != "" {
			g.names = append(g.names, name)
		}
	}
	return g, nil
}

// Match reports whether the patterns select a path of a tree.
func (p Patterns) Match(path string) bool {
	for i := len(p.globs) - 1; i >= 0; i-- {
		if p.globs[i].match(path) {
			return !p.globs[i].exclude
		}
	}
	return false
}

// match reports whether the glob matches a path or a directory above it.
func (g *glob) match(path string) bool {
	for ; path != ""; path = parent(path) {
		if doublestar.MatchUnvalidated(g.pattern, path) {
			return true
		}
	}
	return false
}

// below reports whether the patterns may select something below a directory.
func (p Patterns) below(dir string) bool {
	for i := len(p.globs) - 1; i >= 0; i-- {
		g := &p.globs[i]
		switch {
		case !g.exclude && g.below(dir):
			return true
		case g.exclude && g.match(dir):
			return false
		}
	}
	return false
}

func (g *glob) below(dir string) bool {
	names := strings.Split(dir, "/")
	for i, want := range g.names {
		if i == len(names) {
			return true
		}
		if !doublestar.MatchUnvalidated(want, names[i]) {
			return g.match(dir)
		}
	}
	return g.open || g.match(dir)
}

// Unmatched returns the globs, as they were written, that match nothing in a tree.
// Globs that exclude are not among them.
func (p Patterns) Unmatched(t *Tree) []string {
	var none []string
	for i := range p.globs {
		g := &p.globs[i]
		if !g.exclude && !slices.ContainsFunc(t.Files, func(f File) bool { return g.match(f.Path) }) {
			none = append(none, g.text)
		}
	}
	return none
}

// Select returns the tree of what the globs select; see Patterns. It may be
// empty. The order of the globs matters.
func (t *Tree) Select(globs []string) (*Tree, error) {
	p, err := ParsePatterns(globs)
	if err != nil {
		return nil, err
	}
	var files []File
	for i := range t.Files {
		if p.Match(t.Files[i].Path) {
			files = append(files, t.Files[i])
		}
	}
	return &Tree{Files: files}, nil
}
