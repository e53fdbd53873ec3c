//go:build unix

package store

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownedByUs reports whether a file belongs to our user.
func ownedByUs(info os.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Geteuid()
}

// onlyForOwner reports whether only the owner may access a file.
func onlyForOwner(info os.FileInfo) bool { return info.Mode().Perm()&0o077 == 0 }

// writable reports whether we may create files in a directory.
func writable(dir string) bool { return unix.Access(dir, unix.W_OK|unix.X_OK) == nil }
