//go:build unix

package cli

import (
	"os"
	"syscall"
)

// ownedByUs reports whether a file belongs to the user that we are.
func ownedByUs(info os.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Geteuid()
}

// onlyForOwner reports whether nobody but its owner may do anything with a file.
func onlyForOwner(info os.FileInfo) bool { return info.Mode().Perm()&0o077 == 0 }
