package e2e

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// proxy stands between a program and a NATS server, and makes the faults of a
// network: it can swallow what goes one way, and cut all connections.
type proxy struct {
	url    string
	target string
	listen net.Listener

	mu    sync.Mutex
	pairs map[*pair]bool
}

type direction int

const (
	none     direction = iota
	requests           // what the program sends
	replies            // what the server sends
)

// pair is one connection through the proxy.
type pair struct {
	client, server net.Conn
	swallow        direction
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := &proxy{url: "nats://" + l.Addr().String(), target: target, listen: l, pairs: map[*pair]bool{}}
	var accepting sync.WaitGroup
	accepting.Go(func() { x.accept(t.Context()) })
	t.Cleanup(func() {
		l.Close()
		x.cut()
		accepting.Wait()
	})
	return x
}

func (x *proxy) accept(ctx context.Context) {
	var pumps sync.WaitGroup
	defer pumps.Wait()
	for {
		client, err := x.listen.Accept()
		if err != nil {
			return
		}
		var dialer net.Dialer
		server, err := dialer.DialContext(ctx, "tcp", x.target)
		if err != nil {
			client.Close()
			continue
		}
		p := &pair{client: client, server: server}
		x.mu.Lock()
		x.pairs[p] = true
		x.mu.Unlock()
		pumps.Go(func() { x.pump(p, server, client, requests) })
		pumps.Go(func() { x.pump(p, client, server, replies) })
	}
}

// pump carries what goes one way until the connection ends.
func (x *proxy) pump(p *pair, to io.Writer, from io.Reader, way direction) {
	defer x.close(p)
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		x.mu.Lock()
		lost := p.swallow == way
		x.mu.Unlock()
		if lost {
			continue
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (x *proxy) close(p *pair) {
	p.client.Close()
	p.server.Close()
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.pairs, p)
}

// lose swallows all that goes one way on the connections that are open now;
// those made later work.
func (x *proxy) lose(way direction) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for p := range x.pairs {
		p.swallow = way
	}
}

// cut ends all connections; new ones can be made at once.
func (x *proxy) cut() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for p := range x.pairs {
		p.client.Close()
		p.server.Close()
	}
}
