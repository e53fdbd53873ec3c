package machine

import (
	"errors"
	"syscall"
)

// lacking lists the errors by which Windows reports that memory, handles or
// space are lacking.
var lacking = []syscall.Errno{8, 14, 39, 112, 1450, 1455}

func lacksResources(err error) bool {
	for _, errno := range lacking {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// OutOfFiles is false here: the system reports no such error.
func OutOfFiles(error) bool { return false }

// CheckFiles returns nil here.
func CheckFiles() error { return nil }
