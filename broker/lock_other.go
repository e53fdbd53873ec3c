//go:build !unix

package broker

import "os"

// lockFile makes the file; where there is no flock nothing is kept out.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}
