package worker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// scratch is what an attempt has of the file system for itself: its TMPDIR,
// the two files that it talks through, and its workspace where the worker has
// none. All of it is gone when the attempt has ended.
type scratch struct {
	spares    *spares // may be nil
	root      string
	workspace string
	tmp       string
	output    string
	needs     string
}

func newScratch(workspace string, needs []byte, from *spares) (*scratch, error) {
	root := filepath.Join(os.TempDir(), "modpipe-"+rand.Text()[:13])
	s := &scratch{
		spares:    from,
		root:      root,
		workspace: workspace,
		tmp:       filepath.Join(root, tmpName),
		output:    filepath.Join(root, outputName),
		needs:     filepath.Join(root, needsName),
	}
	if workspace == "" {
		s.workspace = filepath.Join(root, "workspace")
	}
	if err := s.fill(workspace == "", needs); err != nil {
		err = fmt.Errorf("create a directory for the attempt in %s: %w", os.TempDir(), plainly(err))
		_ = s.remove() // what is in the way of it is in the way of this
		return nil, machineError{err}
	}
	return s, nil
}

const (
	tmpName    = "tmp"
	outputName = "output"
	needsName  = "needs.json"
	lineName   = "line"
)

func (s *scratch) fill(fresh bool, needs []byte) error {
	if !s.spares.take(s.root) {
		if err := os.Mkdir(s.root, 0o700); err != nil {
			return err
		}
		if err := os.Mkdir(s.tmp, 0o700); err != nil {
			return err
		}
	}
	if fresh {
		if err := os.Mkdir(s.workspace, 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(s.output, nil, 0o600); err != nil {
		return err
	}
	return os.WriteFile(s.needs, needs, 0o600)
}

// save keeps a text in a file that goes with the attempt.
func (s *scratch) save(name, text string) (string, error) {
	path := filepath.Join(s.root, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", machineError{fmt.Errorf("write a file for the attempt in %s: %w", os.TempDir(), plainly(err))}
	}
	return path, nil
}

// remove takes everything away, also what the attempt made read-only.
func (s *scratch) remove() error { return removeAll(s.root) }

// leave ends it, and keeps the directories for another attempt when nothing
// but what was made for this one is in them. No process may be left that knows them.
func (s *scratch) leave() error {
	if s.spares.put(s.root) {
		return nil
	}
	return s.remove()
}

func removeAll(root string) error {
	if os.RemoveAll(root) == nil {
		return nil
	}
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700) // before it is read: WalkDir calls this first
		}
		return nil
	})
	if err := os.RemoveAll(root); err != nil {
		return fmt.Errorf("remove the attempt's directory: %w", err)
	}
	return nil
}

// resolveDir is the directory below workspace that a command runs in. It may
// not lead out, neither by .. nor by a symbolic link.
func resolveDir(workspace, dir string) (string, error) {
	root, err := filepath.EvalSymlinks(workspace)
	if err == nil {
		err = workspaceFault(root)
	}
	if err != nil {
		return "", machineError{fmt.Errorf("workspace %s: %w", workspace, plainly(err))}
	}
	if dir == "" || dir == "." {
		return root, nil
	}
	local := filepath.FromSlash(dir)
	if !filepath.IsLocal(local) {
		return "", fmt.Errorf("dir %q leads out of the workspace", dir)
	}
	path, err := filepath.EvalSymlinks(filepath.Join(root, local))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("dir %q does not exist in the workspace %s", dir, workspace)
	case err != nil:
		return "", fmt.Errorf("dir %q: %w", dir, err)
	}
	if rel, err := filepath.Rel(root, path); err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return "", fmt.Errorf("dir %q leads out of the workspace by a symbolic link", dir)
	}
	if !isDir(path) {
		return "", fmt.Errorf("dir %q is not a directory", dir)
	}
	return path, nil
}
