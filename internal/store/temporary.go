package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/modpipe/modpipe/internal/exit"
)

// TemporaryState is the directory for the data of users without a home. Its name is
// predictable, so another user may have created it first: see OurTemporary.
func TemporaryState() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("modpipe-%d", os.Getuid()))
}

// makeOurTemporary creates the temporary state directory if dir is in it.
// OurTemporary checks it.
func makeOurTemporary(dir string) error {
	if top := TemporaryState(); inTree(dir, top) {
		if err := os.Mkdir(top, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return exit.Infrastructuref("store: %w\nset HOME or XDG_STATE_HOME, or name another directory with --store", err)
		}
	}
	return OurTemporary(dir)
}

// PrepareState creates the directory for the data of all workspaces.
func PrepareState(dir string) error {
	if err := makeOurTemporary(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return exit.Infrastructuref("%w\nset XDG_STATE_HOME to a directory that can be written to", err)
	}
	return nil
}

// OurTemporary refuses a directory below the temporary state directory, unless that
// directory is real, belongs to this user and is closed to all others. Another owner
// could replace its files and read the tokens. A missing directory passes.
func OurTemporary(dir string) error {
	top := TemporaryState()
	if !inTree(dir, top) {
		return nil
	}
	info, err := os.Lstat(top)
	why := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		why = err.Error()
	case info.Mode()&fs.ModeSymlink != 0:
		why = "it is a symbolic link"
	case !info.IsDir():
		why = "it is not a directory"
	case !ownedByUs(info):
		why = "it belongs to another user"
	case !onlyForOwner(info):
		why = fmt.Sprintf("it has mode %04o, not 0700", info.Mode().Perm())
	default:
		return nil
	}
	return exit.Infrastructuref("store: without a HOME to write into the data is kept in %s, and that cannot be trusted: %s\n"+
		"set HOME or XDG_STATE_HOME, or name another directory with --store", top, why)
}

func inTree(dir, top string) bool {
	return dir == top || strings.HasPrefix(dir, top+string(filepath.Separator))
}
