package broker

import (
	"context"
	"errors"
	"os"
	"time"
)

// writeFailed is what the server says, once a stream, when its disk has failed
// a write. From then on it stores nothing in that stream, whatever room there
// is, and answers no write to it, until it is started again.
const writeFailed = "ritical write error"

const (
	roomEvery = time.Second // between two looks whether there is room again
	roomBytes = 4 << 20     // what must fit: as much as the server writes at once
)

// Mend starts the server again whenever its disk has failed a write and has
// room again, until ctx ends; then it returns nil. Nothing that the server had
// acknowledged is lost. Clients connect again by themselves and repeat what
// was not answered. It returns ErrStoreGone when the store was removed: the
// server cannot store anything any more.
func (s *Server) Mend(ctx context.Context) error {
	look := time.NewTicker(storeLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			if err := s.storeGone(); err != nil {
				return err
			}
		case why := <-s.log.failed:
			if err := s.mend(ctx, why); err != nil {
				return err
			}
		}
	}
}

func (s *Server) mend(ctx context.Context, why string) error {
	if err := s.storeGone(); err != nil {
		return err
	}
	s.log.log.Error("the embedded NATS could not write to its disk: waiting until there is room; nothing is lost meanwhile",
		"store", s.opts.StoreDir, "error", why)
	for pause(ctx, roomEvery) {
		if err := s.storeGone(); err != nil {
			return err
		}
		if !s.hasRoom() {
			continue
		}
		s.down()
		select {
		case <-s.log.failed: // of the one that is gone
		default:
		}
		err := s.up()
		if err == nil {
			s.log.log.Info("the embedded NATS is started again: its disk has room", "store", s.opts.StoreDir)
			return nil
		}
		s.log.log.Error("the embedded NATS does not start again; trying again", "store", s.opts.StoreDir, "error", err)
	}
	return nil
}

// hasRoom tries to write to the store's disk.
func (s *Server) hasRoom() bool {
	f, err := os.CreateTemp(s.opts.StoreDir, ".room-*")
	if err != nil {
		return false
	}
	_, err = f.Write(make([]byte, roomBytes))
	err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	return err == nil
}
