package natsembed_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/natsembed"
	"github.com/modpipe/modpipe/jobs"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func must[T any](t testing.TB) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestServerKeepsItsStoreForItself(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	s := must[*natsembed.Server](t)(natsembed.Start(natsembed.Config{Store: store, Token: "secret", Logger: quiet()}))
	ctx := t.Context()
	if !strings.Contains(s.URL(), "127.0.0.1:") || strings.Contains(s.URL(), "secret") {
		t.Errorf("it listens on %s", s.URL())
	}
	if _, err := natsembed.Start(natsembed.Config{Store: store, Logger: quiet()}); !errors.Is(err, natsembed.ErrStoreHeld) {
		t.Errorf("a second server on the store: %v", err)
	}
	address := strings.TrimPrefix(s.URL(), "nats://")
	if _, err := natsembed.Start(natsembed.Config{Memory: true, Listen: address, Logger: quiet()}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a port that is taken: %v", err)
	}
	if _, err := broker.Connect(ctx, broker.Config{URL: s.URL(), ConnectTimeout: time.Minute, Logger: quiet()}); !errors.Is(err, broker.ErrRefused) {
		t.Errorf("without the token: %v", err)
	}
	inside := must[*broker.Conn](t)(broker.Connect(ctx, broker.Config{Options: s.Options(), Logger: quiet()}))
	must[uint64](t)(inside.Runs.Append(ctx, "r", "m", 0, jobs.Record{Claim: &jobs.Claim{Attempt: 1, Worker: "w", Incarnation: "i", Nonce: "n"}}))
	inside.Close()
	s.Close()
	s.Close() // again does nothing
	s = must[*natsembed.Server](t)(natsembed.Start(natsembed.Config{Store: store, Logger: quiet()}))
	defer s.Close()
	inside = must[*broker.Conn](t)(broker.Connect(ctx, broker.Config{Options: s.Options(), Logger: quiet()}))
	defer inside.Close()
	must[jobs.Entry](t)(inside.Runs.Last(ctx, "r", "m"))
}

func TestUnusableStoreIsReported(t *testing.T) {
	t.Parallel()
	if _, err := natsembed.Start(natsembed.Config{Store: "/dev/null/store", Logger: quiet()}); err == nil {
		t.Error("a store below a file")
	}
}
