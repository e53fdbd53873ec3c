//go:build !linux

package protect

import "runtime"

// Memory does nothing here.
func Memory() {}

// Missing says what is not protected; empty when everything is.
func Missing() string {
	return "commands of this user can read the memory of this process: " + runtime.GOOS + " does not protect it"
}
