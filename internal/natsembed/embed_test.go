package natsembed_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/natsembed"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

func TestServerKeepsItsStoreForItself(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	s := natstest.Must[*natsembed.Server](t)(natsembed.Start(natsembed.Config{Store: store, Token: "secret", Logger: natstest.Quiet()}))
	ctx := t.Context()
	if !strings.Contains(s.URL(), "127.0.0.1:") || strings.Contains(s.URL(), "secret") {
		t.Errorf("it listens on %s", s.URL())
	}
	if _, err := natsembed.Start(natsembed.Config{Store: store, Logger: natstest.Quiet()}); !errors.Is(err, natsembed.ErrStoreHeld) {
		t.Errorf("a second server on the store: %v", err)
	}
	address := strings.TrimPrefix(s.URL(), "nats://")
	if _, err := natsembed.Start(natsembed.Config{Memory: true, Listen: address, Logger: natstest.Quiet()}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a port that is taken: %v", err)
	}
	if _, err := broker.Connect(ctx, broker.Config{URL: s.URL(), ConnectTimeout: time.Minute, Logger: natstest.Quiet()}); !errors.Is(err, broker.ErrRefused) {
		t.Errorf("without the token: %v", err)
	}
	inside := natstest.Must[*broker.Conn](t)(broker.Connect(ctx, broker.Config{Options: s.Options(), Logger: natstest.Quiet()}))
	natstest.Must[uint64](t)(inside.Runs.Append(ctx, "r", "m", 0, jobs.Record{Claim: &jobs.Claim{Attempt: 1, Worker: "w", Incarnation: "i", Nonce: "n"}}))
	inside.Close()
	s.Close()
	s.Close() // again does nothing
	s = natstest.Must[*natsembed.Server](t)(natsembed.Start(natsembed.Config{Store: store, Logger: natstest.Quiet()}))
	defer s.Close()
	inside = natstest.Must[*broker.Conn](t)(broker.Connect(ctx, broker.Config{Options: s.Options(), Logger: natstest.Quiet()}))
	defer inside.Close()
	natstest.Must[jobs.Entry](t)(inside.Runs.Last(ctx, "r", "m"))
}

func TestUnusableStoreIsReported(t *testing.T) {
	t.Parallel()
	if _, err := natsembed.Start(natsembed.Config{Store: "/dev/null/store", Logger: natstest.Quiet()}); err == nil {
		t.Error("a store below a file")
	}
}
