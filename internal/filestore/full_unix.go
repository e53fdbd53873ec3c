//go:build unix

package filestore

import (
	"errors"
	"syscall"
)

// diskFull reports whether a write failed for lack of space or quota.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
