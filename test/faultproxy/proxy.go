// Package faultproxy is a TCP proxy for tests. It relays between two programs and
// simulates the faults of a network.
//
// A Proxy listens on the loopback and carries every connection to its target. A Fault
// applies from now on, to open and to new connections. It has a latency, a rate, closed
// ways, and refusal. Bytes on a closed way are held back until the fault ends (as TCP
// repeats lost packets), or lost for good.
//
// The zero Fault ends a fault. Bytes that were held back arrive late. A connection that
// has lost bytes is reset, because its stream has a hole. While a way is closed, the other
// side does not see the end of the connection either.
//
// Each connection has a reader and a writer each way; all end with Run.
package faultproxy

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Way is one or both of the directions of a connection, as a set.
type Way uint8

// The ways.
const (
	Requests Way = 1 << iota // bytes from the client
	Replies                  // bytes from the target
	Both     = Requests | Replies
)

// Fault is the state of a faulty network. The zero value is a sound network.
type Fault struct {
	Latency time.Duration // one way, on both
	Rate    int           // bytes a second each way, for all connections together; 0 = unlimited
	Hold    Way           // nothing gets through until the fault ends
	Lose    Way           // nothing gets through, ever
	Refuse  bool          // new connections are reset immediately
}

// Proxy carries connections to one target. Safe for concurrent use.
type Proxy struct {
	target string
	listen net.Listener

	mu      sync.Mutex
	fault   Fault
	changed chan struct{} // closed and replaced when fault changes
	links   map[*link]struct{}
	free    map[Way]time.Time // when the way has carried its pending bytes
}

// New creates a proxy to a target, HOST:PORT. It listens immediately and relays
// connections while Run runs.
func New(ctx context.Context, target string) (*Proxy, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &Proxy{target: target, listen: l, changed: make(chan struct{}), links: map[*link]struct{}{}, free: map[Way]time.Time{}}, nil
}

// Addr returns the address on which the proxy listens, HOST:PORT.
func (p *Proxy) Addr() string { return p.listen.Addr().String() }

// Run carries connections until ctx ends; then it resets all and returns nil.
func (p *Proxy) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var links sync.WaitGroup
	defer links.Wait()
	defer p.Reset()
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = p.listen.Close() })() // ends Accept
	for {
		client, err := p.listen.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				reset(client)
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // of that connection
			continue
		}
		links.Go(func() { p.carry(ctx, client) })
	}
}

// Set sets the state of the network.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
	for l := range p.links {
		l.lose = f.Lose | l.loseForGood
		if l.holed&^l.lose != 0 {
			l.reset()
		}
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// LoseOnOpen loses all bytes on one way of the connections that are open now, as long as
// they live. Later connections are sound.
func (p *Proxy) LoseOnOpen(way Way) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.lose |= way
		l.loseForGood |= way
	}
}

// Reset ends all connections as a reset does; new ones can be opened immediately.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// late bounds the delay of a packet that the proxy compensates. Timers fire late, so a
// busy machine would otherwise make a link slower than its rate.
const late = 20 * time.Millisecond

// carried returns when a way has carried so many more bytes, after all earlier ones; zero
// = immediately.
func (p *Proxy) carried(way Way, bytes int) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault.Rate <= 0 {
		return time.Time{}
	}
	start := time.Now().Add(-late)
	if p.free[way].After(start) {
		start = p.free[way]
	}
	p.free[way] = start.Add(time.Duration(bytes) * time.Second / time.Duration(p.fault.Rate))
	return p.free[way]
}

// now returns the state of the network, and a channel that is closed when it changes.
func (p *Proxy) now() (Fault, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault, p.changed
}
