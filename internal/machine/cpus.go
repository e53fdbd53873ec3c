package machine

import "runtime"

// CPUs is how many CPUs this process may use: those that it may run on, or
// fewer where a control group gives it less time. A part of one counts as one.
func CPUs() int {
	n := runtime.NumCPU()
	if q := quota(); q > 0 {
		n = min(n, q)
	}
	return n
}
