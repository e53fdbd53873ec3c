package jetstream_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/test/natstest"
)

func config(t testing.TB, s *natstest.Server) jetstream.Config {
	t.Helper()
	return jetstream.Config{URL: s.URL(), Options: s.Options(), Name: t.Name(), ConnectTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler), Probe: "S"}
}

// within bounds a test: it fails rather than hangs.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestServerWithoutJetStreamIsReported(t *testing.T) {
	t.Parallel()
	s := natstest.StartServer(t, func(o *server.Options) { o.StoreDir = "" })
	_, err := jetstream.Connect(within(t), config(t, s))
	if err == nil || !strings.Contains(err.Error(), "start nats-server with -js") {
		t.Errorf("%v", err)
	}
}

func TestUnreachableServerIsNamedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	_, err := jetstream.Connect(within(t), jetstream.Config{
		URL: "nats://user:secret@" + closedPort(t), ConnectTimeout: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	if !errors.Is(err, jetstream.ErrUnreachable) || !strings.Contains(err.Error(), "127.0.0.1") || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

func TestWaitForAConnectionReportsTheReason(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]struct{ url, reason string }{
		"refused":         {"nats://" + closedPort(t), "connection refused"},
		"no such host":    {"nats://no-such-host.invalid:4222", "no-such-host.invalid"},
		"silent":          {"nats://" + silentPort(t), "i/o timeout"},
		"the last of two": {"nats://" + closedPort(t) + ",nats://" + closedPort(t), "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said := natstest.NewLog()
			ctx, cancel := context.WithCancelCause(within(t))
			defer cancel(nil)
			failed := make(chan error, 1)
			go func() {
				_, err := jetstream.Connect(ctx, jetstream.Config{URL: server.url, Logger: said.Logger()})
				failed <- err
			}()
			said.Await(t, "waiting for NATS")
			said.Await(t, server.reason)
			cancel(errors.New("enough"))
			err := <-failed
			if !errors.Is(err, jetstream.ErrUnreachable) || !strings.Contains(err.Error(), server.reason) {
				t.Errorf("%v", err)
			}
		})
	}
}

// silentPort accepts connections and sends nothing.
func silentPort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func TestRefusedCredentialsAreReported(t *testing.T) {
	t.Parallel()
	s := natstest.StartServer(t, func(o *server.Options) { o.Authorization = "right" })
	cfg := config(t, s)
	cfg.URL = strings.Replace(s.URL(), "nats://", "nats://wrong@", 1)
	cfg.ConnectTimeout = 0
	_, err := jetstream.Connect(within(t), cfg)
	if !errors.Is(err, jetstream.ErrRefused) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("%v", err)
	}
}

func TestConnectWaitsForAServer(t *testing.T) {
	t.Parallel()
	s := natstest.StartServer(t, nil)
	s.Stop()
	connected := make(chan error, 1)
	cfg := config(t, s)
	cfg.ConnectTimeout = 0
	go func() {
		c, err := jetstream.Connect(within(t), cfg)
		if err == nil {
			c.Close()
		}
		connected <- err
	}()
	s.Start(t)
	check(t, <-connected)
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	check(t, l.Close())
	return l.Addr().String()
}
