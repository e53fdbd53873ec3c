package workspace

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/modpipe/modpipe/internal/machine"
)

// Source provides the directories of attempts. It is safe for concurrent use.
type Source struct {
	dir     string // "" = an empty directory for each attempt
	mounted bool   // a file system was mounted on dir when the Source was created
}

// New returns the source of a worker whose workspace is dir; "" = an empty
// directory for each attempt.
func New(dir string) *Source {
	return &Source{dir: dir, mounted: dir != "" && mountPoint(dir)}
}

// Request describes the directory that an attempt needs.
type Request struct {
	Within string // the private directory of the attempt, which exists
}

// Prepare returns the directory of an attempt. The caller calls cleanup when no
// process uses the directory any more.
func (s *Source) Prepare(_ context.Context, r Request) (dir string, cleanup func() error, err error) {
	if s.dir == "" {
		return empty(filepath.Join(r.Within, "workspace"))
	}
	if s.mounted && !mountPoint(s.dir) { // its mount point still exists, and is empty
		return "", nil, machine.Errorf("workspace %s: it is not mounted any more", s.dir)
	}
	return s.dir, func() error { return nil }, nil
}

// Place names a directory of this machine in the cache: results of attempts that found
// undeclared files serve only where they come from. It is empty for no directory, and
// where the machine has no name.
func Place(dir string) string {
	if dir == "" {
		return ""
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	host, err := os.Hostname()
	if err != nil {
		return ""
	}
	return host + ":" + dir
}

func empty(dir string) (string, func() error, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", nil, machine.Errorf("create the workspace of the attempt: %w", machine.WithoutPath(err))
	}
	return dir, func() error { return Remove(dir) }, nil
}

// Check returns an error unless dir is a directory, or empty text.
func Check(dir string) error {
	if dir == "" {
		return nil
	}
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", dir)
	}
	return err
}

// Remove removes a directory with everything in it, including directories that
// an attempt has made read-only.
func Remove(root string) error {
	if os.RemoveAll(root) == nil {
		return nil
	}
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700) // WalkDir reads the directory after this call
		}
		return nil
	})
	if err := os.RemoveAll(root); err != nil {
		return fmt.Errorf("remove the attempt's directory: %w", err)
	}
	return nil
}
