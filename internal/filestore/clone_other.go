//go:build !linux

package filestore

import (
	"io/fs"
	"os"
)

// clone refuses: this system has no call for it, so files are copied.
func (s *Store) clone(_, _ *os.File) bool { return false }

// sameDevice is not known here, and evicting for a full disk helps most often:
// caches and directories of attempts usually share a volume.
func sameDevice(_, _ *os.File) bool { return true }

func stampOf(fs.FileInfo) (stamp, bool) { return stamp{}, false }
