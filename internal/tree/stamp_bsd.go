//go:build darwin || freebsd || netbsd

package tree

import (
	"io/fs"
	"syscall"
)

// changed returns what the file system notes of a file at every change.
func changed(info fs.FileInfo) (inode uint64, ctime int64) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino, syscall.TimespecToNsec(s.Ctimespec)
	}
	return 0, 0
}
