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
	maxBytes int64
	maxFiles int

	files int
	bytes int64
	dirs  map[string]*weight
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
		w.dirs = map[string]*weight{}
	}
	for dir := path.Dir(p); ; dir = path.Dir(dir) {
		at := w.dirs[dir]
		if at == nil {
			at = &weight{}
			w.dirs[dir] = at
		}
		at.files++
		at.bytes += size
		if dir == "." {
			return
		}
	}
}

func (w *tally) over() bool { return w.bytes > w.maxBytes || w.files > w.maxFiles }

// check refuses a snapshot above the limits, and names its five largest
// directories.
func (w *tally) check() error {
	var over string
	by := func(a, b *weight) int { return cmp.Compare(b.bytes, a.bytes) }
	switch {
	case w.bytes > w.maxBytes:
		over = fmt.Sprintf("it would contain %s, and a run takes at most %s along", size(w.bytes), size(w.maxBytes))
	case w.files > w.maxFiles:
		over = fmt.Sprintf("it would contain %s files, and a run takes at most %s along", thousands(int64(w.files)), thousands(int64(w.maxFiles)))
		by = func(a, b *weight) int { return cmp.Compare(b.files, a.files) }
	default:
		return nil
	}
	return fmt.Errorf("%s; the largest directories are:\n%s\n"+
		"exclude what modules do not need with workspace.exclude or %s, or raise --workspace-max", over, w.largest(by), IgnoreFile)
}

// largest lists the five largest directories of which none is below another.
func (w *tally) largest(by func(a, b *weight) int) string {
	names := slices.SortedFunc(maps.Keys(w.dirs), func(a, b string) int {
		return cmp.Or(by(w.dirs[a], w.dirs[b]), cmp.Compare(strings.Count(a, "/"), strings.Count(b, "/")), cmp.Compare(a, b))
	})
	listed := map[string]bool{}
	var lines []string
	for _, name := range names {
		if name == "." && len(names) > 1 || below(listed, name) {
			continue
		}
		listed[name] = true
		lines = append(lines, fmt.Sprintf("  %s: %s, %s", name, size(w.dirs[name].bytes), fileCount(w.dirs[name].files)))
		if len(lines) == 5 {
			break
		}
	}
	return strings.Join(lines, "\n")
}

// below reports whether a directory above name is listed: five levels of one path
// would hide the other large directories.
func below(listed map[string]bool, name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if listed[dir] {
			return true
		}
	}
	return false
}
