package process

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"sync"

	"github.com/modpipe/modpipe/internal/workspace"
)

// spares are the directories of attempts that have ended, under other names,
// for those that will begin: file systems are slow at making what replaces
// something just deleted (ext4 looks past everything that was deleted within
// the last minute), and of 2,000 short commands two thirds of a worker's time
// went there.
type spares struct {
	most int // that are kept

	mu    sync.Mutex
	paths []string
}

// take gives a spare directory the name root. It reports false when there is
// none.
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
		if os.Rename(path, root) == nil { // else the directory was cleaned up
			return true
		}
	}
	return false
}

// put keeps an attempt's directory. It reports false when it does not, and
// then leaves it to be removed.
func (s *spares) put(root string) bool {
	if s == nil {
		return false
	}
	_ = os.Remove(filepath.Join(root, lineName)) // most attempts have none
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

// remove removes them all.
func (s *spares) remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range s.paths {
		_ = workspace.Remove(path) // it is empty, and in a directory for such things
	}
	s.paths = nil
}

// asMade reports whether nothing is in an attempt's directory but what was
// made there, as it was made: a link would lead a later attempt elsewhere.
func asMade(root string) bool {
	tmp := filepath.Join(root, tmpName)
	return private(root, os.ModeDir|0o700) && private(tmp, os.ModeDir|0o700) && private(filepath.Join(root, needsName), 0o600) &&
		holds(root, 3) && holds(tmp, 0)
}

// private reports whether a file has the mode, and no other name.
func private(path string, mode os.FileMode) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode() == mode && (mode.IsDir() || soleName(info))
}

// holds reports whether a directory has so many entries.
func holds(dir string, n int) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == n
}
