//go:build unix

package store

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownedByUs reports whether a file belongs to the user that we are.
func ownedByUs(info os.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Geteuid()
}

// onlyForOwner reports whether only its owner may do anything with a file.
func onlyForOwner(info os.FileInfo) bool { return info.Mode().Perm()&0o077 == 0 }

// writable reports whether we may make files in a directory.
func writable(dir string) bool { return unix.Access(dir, unix.W_OK|unix.X_OK) == nil }
