package puller_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/test/natstest"
)

// patience is how long a test waits for an expected event.
const patience = 5 * time.Minute

// connect connects to a server until the test ends.
func connect(t testing.TB, s *natstest.Server) *broker.Conn {
	t.Helper()
	c, err := broker.Connect(t.Context(), config(t, s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func config(t testing.TB, s *natstest.Server) broker.Config {
	t.Helper()
	return broker.Config{URL: s.URL(), Options: s.Options(), Name: t.Name(), ConnectTimeout: patience, Logger: quiet()}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// within bounds a test: it fails rather than hangs.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// background runs f until the test ends, and fails the test if f does.
func background(t testing.TB, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

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

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// receive takes one value, or fails the test when ctx ends first.
func receive[T any](t testing.TB, ctx context.Context, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-ctx.Done():
		t.Fatal("nothing arrived")
		panic("unreachable")
	}
}
