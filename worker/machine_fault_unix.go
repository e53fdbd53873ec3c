//go:build unix

package worker

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// lacking are what the system answers when the machine lacks something or a
// device of it fails. A missing file or a denied permission is not among them:
// these are usually about the command.
var lacking = []syscall.Errno{
	syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS,
	syscall.EIO, syscall.ESTALE, syscall.ENOTCONN, syscall.ENODEV, syscall.ENXIO,
}

func lacksResources(err error) bool {
	errno, ok := errors.AsType[syscall.Errno](err)
	return ok && slices.Contains(lacking, errno)
}

// outOfFiles reports whether an error is for want of file descriptors.
func outOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// spareFiles is how many file descriptors must be free when a command starts:
// its pipes, the null device, the start itself, and what looks after it.
const spareFiles = 8

// checkFiles reports whether a command would find the file descriptors that
// its start, its supervision and its end take.
func checkFiles() error {
	var open []int
	defer func() {
		for _, fd := range open {
			_ = syscall.Close(fd)
		}
	}()
	for range spareFiles {
		fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return machineError{&os.PathError{Op: "open", Path: os.DevNull, Err: err}}
		}
		open = append(open, fd)
	}
	return nil
}

// mountPoint reports whether another file system is mounted on dir.
func mountPoint(dir string) bool {
	in, err := os.Stat(dir)
	if err != nil {
		return false
	}
	above, err := os.Stat(filepath.Join(dir, ".."))
	if err != nil {
		return false
	}
	a, ok := in.Sys().(*syscall.Stat_t)
	b, also := above.Sys().(*syscall.Stat_t)
	return ok && also && a.Dev != b.Dev
}
