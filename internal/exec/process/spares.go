package process

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"sync"

	"github.com/modpipe/modpipe/internal/workspace"
)

// spares keeps the directories of ended attempts, under other names, for further
// attempts. File systems create slowly what replaces something that was just deleted:
// ext4 skips everything that was deleted within the last minute. With 2,000 short
// commands, two thirds of the time of a worker went there.
type spares struct {
	most int // directories that are kept

	mu    sync.Mutex
	paths []string
}

// take renames a kept directory to root. It reports false without one.
func (s *spares) take(root string) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.paths) > 0 {
		last := len(s.paths) - 1
		path := s.paths[last]
		s.paths = s.paths[:last]
		if os.Rename(path, root) == nil { // else the directory was removed by another program
			return true
		}
	}
	return false
}

// put keeps the directory of an attempt. It reports false when it does not, and the
// caller removes the directory.
func (s *spares) put(root string) bool {
	if s == nil {
		return false
	}
	_ = os.Remove(filepath.Join(root, lineName)) // most attempts have no such file
	if !asMade(root) || os.Remove(filepath.Join(root, outputName)) != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	path := filepath.Join(filepath.Dir(root), "modpipe-spare-"+rand.Text()[:13])
	if len(s.paths) >= s.most || os.Rename(root, path) != nil {
		return false
	}
	s.paths = append(s.paths, path)
	return true
}

// remove removes all kept directories.
func (s *spares) remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range s.paths {
		_ = workspace.Remove(path) // it is empty, and in the temporary directory
	}
	s.paths = nil
}

// asMade reports whether the directory of an attempt contains only the files that were
// created for it, unchanged: a link would lead a later attempt elsewhere.
func asMade(root string) bool {
	tmp := filepath.Join(root, tmpName)
	return private(root, os.ModeDir|0o700) && private(tmp, os.ModeDir|0o700) && private(filepath.Join(root, needsName), 0o600) &&
		holds(root, 3) && holds(tmp, 0)
}

// private reports whether a file has the mode, and no second name.
func private(path string, mode os.FileMode) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode() == mode && (mode.IsDir() || soleName(info))
}

// holds reports whether a directory has n entries.
func holds(dir string, n int) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == n
}
