package jetstream

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Answers of a server that has no place for a stream.
const (
	codeNoCluster jetstream.ErrorCode = 10074
	codeNoPeers   jetstream.ErrorCode = 10005
)

// smallPeers reports whether a cluster has enough servers for a stream, but not
// enough room on them. A single server answers with another code.
func smallPeers(err error) bool {
	return errorCode(err) == codeNoPeers && strings.Contains(err.Error(), "storage")
}

// unplaced explains why a stream found no place. It returns other errors
// unchanged.
func unplaced(cfg jetstream.StreamConfig, err error) error {
	switch code := errorCode(err); {
	case code == codeNoPeers && smallPeers(err):
		return fmt.Errorf("%w, not even for little of it in %s: %w", ErrFull, copies(cfg.Replicas), err)
	case code == codeNoCluster, code == codeNoPeers:
		return fmt.Errorf("to keep %s takes as many servers with JetStream in one cluster, all of them up: "+
			"add servers, or ask for fewer copies (--replicas): %w", copies(cfg.Replicas), err)
	}
	return err
}

func copies(n int) string {
	if n == 1 {
		return "1 copy"
	}
	return fmt.Sprintf("%d copies", n)
}

// noRoomFor reports whether a stream with a lower limit may find a place.
func noRoomFor(err error) bool { return errors.Is(err, ErrFull) || smallPeers(err) }
