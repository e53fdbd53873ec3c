package filestore

import (
	"os"
	"path/filepath"
	"strconv"
)

// NewDirectory creates an empty directory on the file system of the store, so
// that contents can be cloned into it. The caller removes it; what a process
// leaves is removed after its end.
func (s *Store) NewDirectory() (string, error) {
	parent := filepath.Join(s.user.dir, directoriesDir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", err
	}
	dir := filepath.Join(parent, strconv.FormatUint(s.tmpNames.Add(1), 10))
	return dir, os.Mkdir(dir, 0o755)
}

// directoriesDir holds the directories that NewDirectory creates.
const directoriesDir = "dirs"
