//go:build unix

package signing

import (
	"io/fs"
	"os"
	"syscall"
)

// private reports whether only this user can read a file. The group may read a file
// of root: that is how an orchestrator of containers gives a file to one user.
func private(info fs.FileInfo) bool {
	mode := info.Mode().Perm()
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && st.Uid == 0 && os.Getuid() != 0 {
		return mode&0o027 == 0
	}
	return mode&0o077 == 0
}
