//go:build unix && !linux

package protect

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// descriptors keeps inherited files from the commands that this process starts. It does
// not close them: an argument may name one (/dev/fd/63).
func descriptors() {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > int(os.Stderr.Fd()) {
			unix.CloseOnExec(fd)
		}
	}
}
