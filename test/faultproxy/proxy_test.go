package faultproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// patience bounds the wait for an event. soon is the wait that shows that none happens.
const (
	patience = time.Minute
	soon     = 50 * time.Millisecond
)

// pair is a connection through a proxy, seen from both ends.
type pair struct {
	*Proxy
	client, target net.Conn
	accepted       chan net.Conn
	listener       net.Listener // of the target
}

// newPair starts a target and a proxy, and opens one connection.
func newPair(t *testing.T) *pair {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(t.Context(), l.Addr().String())
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
	accepted := make(chan net.Conn, 8)
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	})
	t.Cleanup(func() {
		l.Close()
		cancel()
		running.Wait()
	})
	x := &pair{Proxy: p, accepted: accepted, listener: l}
	x.client = x.dial(t)
	x.target = <-accepted
	return x
}

func (x *pair) dial(t *testing.T) net.Conn {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", x.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// arrives fails the test unless text arrives next.
func arrives(t *testing.T, c net.Conn, text string) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience)) //nolint:errcheck // a closed connection fails below
	b := make([]byte, len(text))
	if n, err := io.ReadFull(c, b); err != nil || string(b) != text {
		t.Fatalf("got %q, %v; want %q", b[:n], err, text)
	}
}

// nothingArrives fails the test when something comes soon, or the end.
func nothingArrives(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(soon)) //nolint:errcheck // a closed connection fails below
	var b [64]byte
	if n, err := c.Read(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %q, %v; want nothing", b[:n], err)
	}
}

func ends(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience)) //nolint:errcheck // a closed connection is what we want
	if n, err := c.Read(make([]byte, 64)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %d bytes, %v; want the end", n, err)
	}
}

// refused fails the test unless a connection fails.
func refused(t *testing.T, addr string) {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return // the reset came first
	}
	defer c.Close()
	ends(t, c)
}

func TestCarries(t *testing.T) {
	x := newPair(t)
	send(t, x.client, "ping")
	arrives(t, x.target, "ping")
	send(t, x.target, "pong")
	arrives(t, x.client, "pong")
	x.client.Close()
	ends(t, x.target)
}

func TestLatency(t *testing.T) {
	x := newPair(t)
	x.Set(Fault{Latency: 40 * time.Millisecond})
	began := time.Now()
	send(t, x.client, "ping")
	arrives(t, x.target, "ping")
	send(t, x.target, "pong")
	arrives(t, x.client, "pong")
	if took := time.Since(began); took < 80*time.Millisecond {
		t.Errorf("there and back in %v", took)
	}
}

func TestHoldIsLate(t *testing.T) {
	for way, name := range map[Way]string{Requests: "requests", Replies: "replies", Both: "both"} {
		t.Run(name, func(t *testing.T) {
			x := newPair(t)
			x.Set(Fault{Hold: way})
			send(t, x.client, "a")
			send(t, x.target, "b")
			for w, c := range map[Way]net.Conn{Requests: x.target, Replies: x.client} {
				if way&w != 0 {
					nothingArrives(t, c)
				}
			}
			x.Set(Fault{})
			arrives(t, x.target, "a")
			arrives(t, x.client, "b")
		})
	}
}

func TestHoldHidesTheEnd(t *testing.T) {
	x := newPair(t)
	x.Set(Fault{Hold: Both})
	send(t, x.client, "last words")
	x.client.Close()
	nothingArrives(t, x.target)
	x.Set(Fault{})
	arrives(t, x.target, "last words")
	ends(t, x.target)
}

func TestLoseIsForGood(t *testing.T) {
	x := newPair(t)
	x.Set(Fault{Lose: Requests})
	send(t, x.client, "a")
	send(t, x.target, "b")
	nothingArrives(t, x.target)
	arrives(t, x.client, "b")
	x.Set(Fault{}) // the stream has a hole, so the connection is reset
	ends(t, x.target)
	ends(t, x.client)
	client := x.dial(t)
	send(t, client, "c")
	arrives(t, <-x.accepted, "c")
}

func TestLoseOnOpen(t *testing.T) {
	x := newPair(t)
	send(t, x.client, "a")
	arrives(t, x.target, "a") // the connection is there
	x.LoseOnOpen(Replies)
	send(t, x.target, "b")
	nothingArrives(t, x.client)
	client := x.dial(t)
	send(t, <-x.accepted, "c")
	arrives(t, client, "c")
	x.Reset()
	ends(t, x.client)
	ends(t, client)
}

func TestRefuse(t *testing.T) {
	x := newPair(t)
	x.Set(Fault{Refuse: true})
	refused(t, x.Addr())
	send(t, x.client, "a") // open connections stay open
	arrives(t, x.target, "a")
	x.Set(Fault{})
	client := x.dial(t)
	send(t, <-x.accepted, "b")
	arrives(t, client, "b")
}

func TestNobodyListens(t *testing.T) {
	x := newPair(t)
	x.target.Close()
	x.listener.Close()
	refused(t, x.Addr())
}

// TestRunEndsWhileBytesAreHeld ends a proxy with closed ways.
func TestRunEndsWhileBytesAreHeld(t *testing.T) {
	x := newPair(t)
	x.Set(Fault{Hold: Both})
	send(t, x.client, "a")
	// the end of the test cancels Run and waits for it
}

func TestRateIsSharedByConnections(t *testing.T) {
	x := newPair(t)
	x.Set(Fault{Rate: 64 << 10})
	other := x.dial(t)
	otherTarget := <-x.accepted
	began := time.Now()
	long := make([]byte, 24<<10)
	send(t, x.client, string(long))
	send(t, other, string(long))
	arrives(t, x.target, string(long))
	arrives(t, otherTarget, string(long))
	if took := time.Since(began); took < 700*time.Millisecond {
		t.Errorf("48 KiB at 64 KiB/s took %v", took)
	}
}
