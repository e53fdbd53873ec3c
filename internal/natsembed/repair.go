package natsembed

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/modpipe/modpipe/internal/pause"
)

// writeFailed is the server's message, once per stream, when its disk has failed a
// write. From then on the server stores nothing in that stream and answers no
// write to it until it is restarted, even if there is room again.
const writeFailed = "ritical write error"

const (
	roomEvery = time.Second // between two checks for room
	roomBytes = 4 << 20     // that must fit: as much as the server writes in one step
)

// Repair restarts the server whenever its disk has failed a write and has room
// again, until ctx ends; then it returns nil. No acknowledged write is lost.
// Clients reconnect and repeat unanswered writes. Repair returns ErrStoreGone when
// the store was removed, because the server can no longer store anything.
func (s *Server) Repair(ctx context.Context) error {
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-check.C:
			if err := s.storeGone(); err != nil {
				return err
			}
		case why := <-s.log.failed:
			if err := s.restart(ctx, why); err != nil {
				return err
			}
		}
	}
}

func (s *Server) restart(ctx context.Context, why string) error {
	if err := s.storeGone(); err != nil {
		return err
	}
	s.log.log.Error("the embedded NATS could not write to its disk: waiting until there is room; nothing is lost",
		"store", s.opts.StoreDir, "error", why)
	for pause.For(ctx, roomEvery) == nil {
		if err := s.storeGone(); err != nil {
			return err
		}
		if !s.hasRoom() {
			continue
		}
		s.down()
		select {
		case <-s.log.failed: // of the previous server
		default:
		}
		err := s.up()
		if err == nil {
			s.log.log.Info("restarted the embedded NATS: its disk has room", "store", s.opts.StoreDir)
			return nil
		}
		s.log.log.Error("cannot restart the embedded NATS; trying again", "store", s.opts.StoreDir, "error", err)
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
