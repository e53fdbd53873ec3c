package protect

import (
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/modpipe/modpipe/internal/procfs"
)

// Memory makes the memory and the environment of this process unreadable to processes
// of the same user, and keeps it from leaving a core file.
func Memory() {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) // Missing tells if it failed
}

// Missing says what is not protected; empty when everything is.
func Missing() string {
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		return "commands of this user can read the memory of this process"
	}
	return ""
}

// descriptors keeps inherited files from the commands that this process starts. It does
// not close them: an argument may name one (/dev/fd/63).
func descriptors() {
	if unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	names, err := procfs.List("/proc/self/fd") // of a kernel before 5.11
	if err != nil {
		return
	}
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil && fd > int(os.Stderr.Fd()) {
			unix.CloseOnExec(fd)
		}
	}
}
