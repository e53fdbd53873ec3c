package puller_test

import (
	"testing"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/test/natstest"
)

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
	return broker.Config{URL: s.URL(), Options: s.Options(), Name: t.Name(), ConnectTimeout: natstest.Patience, Logger: natstest.Quiet()}
}
