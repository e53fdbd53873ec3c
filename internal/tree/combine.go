package tree

import (
	"fmt"
	"slices"
	"strings"
)

// Change is what differs between two trees at one path.
type Change struct {
	Path   string
	Before *File // nil: the path was added
	After  *File // nil: the path was removed
}

// String returns the change as a line for people: "+ path", "- path" or "~ path".
func (c Change) String() string {
	switch {
	case c.Before == nil:
		return "+ " + c.Path
	case c.After == nil:
		return "- " + c.Path
	}
	return "~ " + c.Path
}

// Diff returns what differs from a to b, in the order of the paths.
func Diff(a, b *Tree) []Change {
	var changes []Change
	old, now := a.Files, b.Files
	for len(old) > 0 || len(now) > 0 {
		switch {
		case len(now) == 0 || len(old) > 0 && old[0].Path < now[0].Path:
			changes = append(changes, Change{Path: old[0].Path, Before: &old[0]})
			old = old[1:]
		case len(old) == 0 || now[0].Path < old[0].Path:
			changes = append(changes, Change{Path: now[0].Path, After: &now[0]})
			now = now[1:]
		default:
			if old[0] != now[0] {
				changes = append(changes, Change{Path: old[0].Path, Before: &old[0], After: &now[0]})
			}
			old, now = old[1:], now[1:]
		}
	}
	return changes
}

// Below returns the tree with everything moved below a directory, such as
// "out/linux". The empty prefix and "." move nothing. A path that becomes too
// long is an error, as is a prefix that CheckPath refuses.
func (t *Tree) Below(prefix string) (*Tree, error) {
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix == "" || prefix == "." {
		return t, nil
	}
	if err := CheckPath(prefix); err != nil {
		return nil, err
	}
	files := make([]File, len(t.Files))
	for i, f := range t.Files {
		f.Path = prefix + "/" + f.Path
		if err := f.check(); err != nil {
			return nil, err
		}
		files[i] = f
	}
	return &Tree{Files: files}, nil
}

// Named is a part of what Merge merges: a tree, and how its errors call it.
type Named struct {
	Name string
	Tree *Tree
}

// Merge returns the tree with the files of all parts. Equal entries of several
// parts are one entry. Two different contents, or kinds, at one path are an error,
// as is a file of one part below a file of another; it names the path and both parts.
func Merge(parts ...Named) (*Tree, error) {
	type entry struct {
		File
		part int
	}
	var all []entry
	for i, p := range parts {
		for _, f := range p.Tree.Files {
			all = append(all, entry{f, i})
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return strings.Compare(a.Path, b.Path) })
	find := func(path string) (entry, bool) {
		i, ok := slices.BinarySearchFunc(all, path, func(e entry, path string) int { return strings.Compare(e.Path, path) })
		if !ok {
			return entry{}, false
		}
		return all[i], true
	}
	files := make([]File, 0, len(all))
	for i, e := range all {
		if i > 0 && all[i-1].Path == e.Path {
			if before := all[i-1]; before.File != e.File {
				return nil, fmt.Errorf("%s and %s both have %q, and it differs: %s in %s, %s in %s",
					parts[before.part].Name, parts[e.part].Name, e.Path,
					before.describe(), parts[before.part].Name, e.describe(), parts[e.part].Name)
			}
			continue
		}
		for up := parent(e.Path); up != ""; up = parent(up) {
			if above, ok := find(up); ok && above.Kind != Directory {
				return nil, fmt.Errorf("%q is a %s in %s and a directory in %s",
					up, above.Kind, parts[above.part].Name, parts[e.part].Name)
			}
		}
		files = append(files, e.File)
	}
	return New(files)
}

// describe says what is at a path, for a message about two that differ.
func (f *File) describe() string {
	switch {
	case f.HasContent():
		return fmt.Sprintf("a %s of %d bytes (%s)", f.Kind, f.Size, f.Digest.String()[:12])
	case f.Kind == Link:
		return "a link to " + quote(f.Target)
	}
	return "a " + f.Kind.String()
}
