//go:build unix

package natsembed

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes a lock that ends with the file or the process.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrStoreHeld
		}
		return nil, err
	}
	return f, nil
}
