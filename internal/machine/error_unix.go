//go:build unix

package machine

import (
	"errors"
	"os"
	"slices"
	"syscall"
)

// lacking lists the errors by which the system reports that it lacks a resource
// or that a device fails. A missing file and a denied permission are not among
// them, because the command usually causes these.
var lacking = []syscall.Errno{
	syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS,
	syscall.EIO, syscall.ESTALE, syscall.ENOTCONN, syscall.ENODEV, syscall.ENXIO,
}

func lacksResources(err error) bool {
	errno, ok := errors.AsType[syscall.Errno](err)
	return ok && slices.Contains(lacking, errno)
}

// OutOfFiles reports whether no file descriptor was free.
func OutOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// spareFiles is how many file descriptors must be free when a command starts,
// for its pipes, the null device, the start and the supervision.
const spareFiles = 8

// CheckFiles returns an error when too few file descriptors are free for the
// start, the supervision and the end of a command.
func CheckFiles() error {
	var open []int
	defer func() {
		for _, fd := range open {
			_ = syscall.Close(fd)
		}
	}()
	for range spareFiles {
		fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: os.DevNull, Err: err}
		}
		open = append(open, fd)
	}
	return nil
}
