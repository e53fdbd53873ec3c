// Package faultproxy is a TCP proxy for tests. It relays between two programs and
// makes the faults of a network.
//
// A Proxy listens on the loopback and carries every connection to its target.
// A Fault says what is wrong with the network from now on, for the connections
// that are open and for those to come: latency; a rate; a way on which nothing gets
// through, held back until the fault ends (as TCP repeats what was lost) or lost
// for good; refusal. Setting the zero Fault ends it: what was held back
// arrives, late; a connection that has lost bytes is reset, since what follows
// a hole is no stream. While a way is shut, its end is not heard of on the
// other side either.
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
	Requests Way = 1 << iota // what the one that connects sends
	Replies                  // what the target sends
	Both     = Requests | Replies
)

// Fault is what is wrong with the network. The zero value is a sound one.
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
	free    map[Way]time.Time // when the way has carried what is on it
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

// Addr is where the proxy listens, HOST:PORT.
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

// Set makes f the state of the network.
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

// LoseOnOpen loses all that goes one way on the connections that are open
// now, for as long as they live; those made later are sound.
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

// late is how late a packet may start to be made up for: timers end late, and
// without that a busy machine would make a link slower than it is said to be.
const late = 20 * time.Millisecond

// carried is when a way has carried so many bytes more, after all that came
// before them; zero = immediately.
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

// now is the state of the network, and what is closed when it changes.
func (p *Proxy) now() (Fault, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault, p.changed
}
