package workspace

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/modpipe/modpipe/internal/machine"
)

// Resolve returns the directory below workspace in which a command runs. It may
// not lead out of the workspace, neither by .. nor by a symbolic link.
func Resolve(workspace, dir string) (string, error) {
	root, err := filepath.EvalSymlinks(workspace)
	if err == nil {
		err = Check(root)
	}
	if err != nil {
		return "", machine.Errorf("workspace %s: %w", workspace, machine.WithoutPath(err))
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
	if Check(path) != nil {
		return "", fmt.Errorf("dir %q is not a directory", dir)
	}
	return path, nil
}
