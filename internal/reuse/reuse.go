package reuse

import (
	"errors"
	"fmt"

	"github.com/modpipe/modpipe/internal/tree"
)

// ErrRefused reports that a directory cannot be restored: the file system or the
// system does not show every change, or the attempt left what cannot be removed.
// The caller removes the directory and makes a new one.
var ErrRefused = errors.New("the directory cannot be used again")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

// Stats says what Restore did with the entries of the tree and with others.
type Stats struct {
	Kept    int // files and links of the tree that were unchanged
	Written int // files, links and empty directories of the tree that were written
	Removed int // entries that were changed or are not in the tree
	Rebuilt int // directories that were replaced by new ones
}

// wanted answers what a tree has at a path.
type wanted struct {
	tree *tree.Tree
	dirs map[string]bool // every directory, whether it is empty or follows from a path; "" is the top
}

func want(t *tree.Tree) wanted {
	w := wanted{tree: t, dirs: map[string]bool{"": true}}
	for i := range t.Files {
		f := &t.Files[i]
		path := f.Path
		if f.Kind != tree.Directory {
			path = parent(path)
		}
		for ; !w.dirs[path]; path = parent(path) {
			w.dirs[path] = true
		}
	}
	return w
}

// parent is the directory of a path; "" for one at the top.
func parent(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[:i]
		}
	}
	return ""
}

func under(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
