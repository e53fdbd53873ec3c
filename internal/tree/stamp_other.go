//go:build !linux && !darwin && !freebsd && !netbsd

package tree

import "io/fs"

// changed returns zeros: here the size and the modification time of a file have
// to show that it changed.
func changed(fs.FileInfo) (inode uint64, ctime int64) { return 0, 0 }
