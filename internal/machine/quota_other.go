//go:build !linux

package machine

// quota is 0 here: this system has no control groups.
func quota() int { return 0 }
