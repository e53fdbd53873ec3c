package store

import (
	"os"

	"golang.org/x/sys/windows"
)

// lockShared takes a lock on f beside others that only look, or fails at once.
func lockShared(f *os.File) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
}
