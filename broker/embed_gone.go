package broker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ErrStoreGone says that the directory of an embedded server's store was
// removed while the server ran on it.
var ErrStoreGone = errors.New("the store was removed")

// storeLook is how often the server looks whether its store is there.
const storeLook = 2 * time.Second

// jetStreamDir is the directory in the store in which the server keeps all.
const jetStreamDir = "jetstream"

// storeGone says what of the store is missing; nil when it is all there. A
// directory that was made again is not the one whose files the server has open.
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
		return nil //nolint:nilerr // it is not known: the next look tells
	}
	now, err := os.Stat(s.lock.Name())
	if errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(held, now) {
		return fmt.Errorf("%w: %s is another directory now", ErrStoreGone, s.opts.StoreDir)
	}
	return nil
}
