package snapshot

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// tally counts what a snapshot would contain.
type tally struct {
	files int
	bytes int64
	dirs  map[string]weight
}

// weight is what a directory contains, with everything below it.
type weight struct {
	files int
	bytes int64
}

func (w *tally) add(p string, size int64) {
	w.files++
	w.bytes += size
	if w.dirs == nil {
		w.dirs = map[string]weight{}
	}
	for dir := path.Dir(p); ; dir = path.Dir(dir) {
		at := w.dirs[dir]
		w.dirs[dir] = weight{at.files + 1, at.bytes + size}
		if dir == "." {
			return
		}
	}
}

// check refuses a snapshot above the limits, and names its five largest
// directories.
func (w *tally) check(maxBytes int64, maxFiles int) error {
	var over string
	by := func(a, b weight) int { return cmp.Compare(b.bytes, a.bytes) }
	switch {
	case w.bytes > maxBytes:
		over = fmt.Sprintf("it would contain %s, and a run takes at most %s along", size(w.bytes), size(maxBytes))
	case w.files > maxFiles:
		over = fmt.Sprintf("it would contain %s files, and a run takes at most %s along", thousands(int64(w.files)), thousands(int64(maxFiles)))
		by = func(a, b weight) int { return cmp.Compare(b.files, a.files) }
	default:
		return nil
	}
	return fmt.Errorf("%s; the largest directories are:\n%s\n"+
		"exclude what modules do not need with workspace.exclude or %s, or raise --workspace-max", over, w.largest(by), IgnoreFile)
}

// largest lists the five largest directories. A directory that holds nearly all
// of the one above it stands for both.
func (w *tally) largest(by func(a, b weight) int) string {
	total := w.dirs["."]
	names := slices.SortedFunc(maps.Keys(w.dirs), func(a, b string) int {
		return cmp.Or(by(w.dirs[a], w.dirs[b]), cmp.Compare(strings.Count(a, "/"), strings.Count(b, "/")), cmp.Compare(a, b))
	})
	own := map[string]weight{} // without the listed directories below
	var lines []string
	for _, name := range names {
		if name == "." && len(names) > 1 {
			continue
		}
		at := w.dirs[name]
		if covered(own, name, at) {
			continue
		}
		own[name] = at
		lines = append(lines, fmt.Sprintf("  %s: %s, %s files", name, size(at.bytes), thousands(int64(at.files))))
		if len(lines) == 5 {
			break
		}
	}
	if len(lines) == 0 {
		return fmt.Sprintf("  .: %s, %s files", size(total.bytes), thousands(int64(total.files)))
	}
	return strings.Join(lines, "\n")
}

// covered reports whether a directory above name is listed: five levels of one
// path would hide the other large directories.
func covered(listed map[string]weight, name string, _ weight) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, ok := listed[dir]; ok {
			return true
		}
	}
	return false
}
