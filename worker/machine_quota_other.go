//go:build !linux

package worker

// quota is not known here.
func quota() int { return 0 }
