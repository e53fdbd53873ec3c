package content_test

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/test/natstest"
)

// store opens the store on a server, with streams in memory.
func store(t testing.TB, s *natstest.Server) (content.Store, *jetstream.Conn) {
	t.Helper()
	c, err := jetstream.Connect(t.Context(), jetstream.Config{
		URL: s.URL(), Options: s.Options(), ConnectTimeout: time.Minute, Memory: true, Logger: slog.New(slog.DiscardHandler),
		Streams: streams.Settings(), Probe: streams.Runs,
	})
	natstest.Check(t, err)
	return content.New(c, streams.BlobsBucket, "main", streams.BlobsAge), c
}

// open is store with a connection that lasts as long as the test.
func open(t testing.TB) (content.Store, *natstest.Server) {
	t.Helper()
	s := natstest.InProcess(t)
	st, c := store(t, s)
	t.Cleanup(c.Close)
	return st, s
}

// noise returns bytes that cannot be compressed.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b) //nolint:errcheck // never fails
	return b
}

func wantMissing(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, jetstream.ErrNotFound) {
		t.Errorf("%v, want ErrNotFound", err)
	}
}
