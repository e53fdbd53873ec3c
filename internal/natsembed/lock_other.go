//go:build !unix

package natsembed

import "os"

// lockFile creates the file. Systems without flock do not exclude other processes.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}
