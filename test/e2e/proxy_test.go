package e2e

import (
	"context"
	"sync"
	"testing"

	"github.com/modpipe/modpipe/test/faultproxy"
)

// proxy relays between a program and a NATS server.
type proxy struct {
	*faultproxy.Proxy
	url string
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	p, err := faultproxy.New(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return &proxy{p, "nats://" + p.Addr()}
}
