package natsembed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ErrStoreGone reports that the directory of an embedded server's store was
// removed while the server ran on it.
var ErrStoreGone = errors.New("the store was removed")

// checkEvery is the time between two checks that the store exists.
const checkEvery = 2 * time.Second

// jetStreamDir is the server's directory in the store.
const jetStreamDir = "jetstream"

// storeGone returns an error when a part of the store is missing, or when its
// directory was recreated: the server still writes to the removed files.
func (s *Server) storeGone() error {
	for _, dir := range []string{s.opts.StoreDir, filepath.Join(s.opts.StoreDir, jetStreamDir)} {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w: %s is missing", ErrStoreGone, dir)
		}
	}
	if s.lock == nil {
		return nil
	}
	held, err := s.lock.Stat()
	if err != nil {
		return nil //nolint:nilerr // unknown: the next check decides
	}
	now, err := os.Stat(s.lock.Path())
	if errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(held, now) {
		return fmt.Errorf("%w: %s was replaced by another directory", ErrStoreGone, s.opts.StoreDir)
	}
	return nil
}
