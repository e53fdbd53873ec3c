package machine

import "golang.org/x/sys/unix"

// Memory is the size of the main memory in bytes; 0 when the system does not
// report it.
func Memory() int64 {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return int64(n)
}

// Load is the load average; 0 here, because it is not read on this system.
func Load() float64 { return 0 }
