package filestore

import (
	"errors"

	"golang.org/x/sys/windows"
)

// diskFull reports whether a write failed for lack of space.
func diskFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}
