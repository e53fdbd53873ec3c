package tree

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// checkCase refuses a tree with two names that differ only in case, if the file
// system of the directory holds one of them only.
func checkCase(t *Tree, dst *os.Root, system *system) error {
	a, b, ok := sameFolded(t.Files)
	if !ok {
		return nil
	}
	folds, err := system.foldsCase(dst)
	if err != nil {
		return fmt.Errorf("find out whether the file system tells %q from %q: %w", a, b, err)
	}
	if folds {
		return fmt.Errorf("%q and %q differ only in case, and this file system cannot hold both; rename one", a, b)
	}
	return nil
}

// sameFolded returns two paths, of files or directories, that differ only in case.
// It remembers the paths that have capitals, since one of two that differ has some.
func sameFolded(files []File) (a, b string, ok bool) {
	capitals := map[string]string{}
	eachPath(files, func(path string) bool {
		if folded := strings.ToLower(path); folded != path {
			if other, known := capitals[folded]; known && other != path {
				a, b, ok = other, path, true
				return false
			}
			capitals[folded] = path
		}
		return true
	})
	if ok || len(capitals) == 0 {
		return a, b, ok
	}
	eachPath(files, func(path string) bool {
		other, known := capitals[path]
		if known {
			a, b, ok = other, path, true
		}
		return !known
	})
	return a, b, ok
}

// eachPath calls yield with the path of each file and each directory.
func eachPath(files []File, yield func(path string) bool) {
	last := ""
	for i := range files {
		path := files[i].Path
		for at := shared(last, path); ; at++ {
			slash := strings.IndexByte(path[at:], '/')
			if slash < 0 {
				break
			}
			at += slash
			if !yield(path[:at]) {
				return
			}
		}
		if !yield(path) {
			return
		}
		last = path
	}
}

// foldsCase tries it.
func foldsCase(dst *os.Root) (bool, error) {
	name := ".modpipe-case-" + strings.ToLower(rand.Text())
	f, err := dst.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false, reason(err)
	}
	_, err = dst.Lstat(strings.ToUpper(name))
	if rerr := errors.Join(f.Close(), dst.Remove(name)); rerr != nil {
		return false, reason(rerr)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, reason(err)
	}
	return err == nil, nil
}
