package worker

import (
	"errors"
	"syscall"
)

// Errors of Windows that say what the machine lacks: memory, handles, space.
var lacking = []syscall.Errno{8, 14, 39, 112, 1450, 1455}

func lacksResources(err error) bool {
	for _, errno := range lacking {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

func outOfFiles(error) bool { return false }

func checkFiles() error { return nil }

func mountPoint(string) bool { return false }
