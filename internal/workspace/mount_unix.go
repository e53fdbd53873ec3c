//go:build unix

package workspace

import (
	"os"
	"path/filepath"
	"syscall"
)

// mountPoint reports whether a file system is mounted on dir.
func mountPoint(dir string) bool {
	in, err := os.Stat(dir)
	if err != nil {
		return false
	}
	above, err := os.Stat(filepath.Join(dir, ".."))
	if err != nil {
		return false
	}
	a, ok := in.Sys().(*syscall.Stat_t)
	b, also := above.Sys().(*syscall.Stat_t)
	return ok && also && a.Dev != b.Dev
}
