package faultproxy

import (
	"context"
	"net"
	"sync"
	"time"
)

// link is one connection through a proxy. The proxy's mutex guards the ways.
type link struct {
	client, target net.Conn
	lose           Way // ways on which bytes are lost now
	loseForGood    Way // in every state of the network
	holed          Way // on which something was lost
}

// piece is some bytes on their way.
type piece struct {
	bytes []byte
	due   time.Time
}

const (
	pieceBytes  = 32 << 10
	packetBytes = 4 << 10
	pieces      = 64 // on their way at the same time: beyond it the sender waits
	dialing     = 5 * time.Second
)

// carry takes a connection to the target, until one side ends it.
func (p *Proxy) carry(ctx context.Context, client net.Conn) {
	if f, _ := p.now(); f.Refuse {
		reset(client)
		return
	}
	dialer := net.Dialer{Timeout: dialing}
	target, err := dialer.DialContext(ctx, "tcp", p.target)
	if err != nil {
		reset(client)
		return
	}
	l := &link{client: client, target: target}
	p.mu.Lock()
	l.lose = p.fault.Lose
	p.links[l] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, l)
	}()
	ctx, cancel := context.WithCancel(ctx) // one way's end is the link's
	defer context.AfterFunc(ctx, l.reset)()
	var ways sync.WaitGroup
	defer ways.Wait()
	defer cancel()
	ended := make(chan struct{}, 2) // one for each way
	for way, ends := range map[Way][2]net.Conn{Requests: {client, target}, Replies: {target, client}} {
		ways.Go(func() {
			p.pump(ctx, l, way, ends[0], ends[1])
			ended <- struct{}{}
		})
	}
	<-ended
	l.close()
}

// pump carries the bytes of one way until it ends.
func (p *Proxy) pump(ctx context.Context, l *link, way Way, from, to net.Conn) {
	var reading sync.WaitGroup
	defer reading.Wait()
	defer func() { _ = from.SetReadDeadline(time.Unix(1, 0)) }() // ends the reader
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	read := make(chan piece, pieces)
	reading.Go(func() {
		defer close(read)
		p.read(ctx, from, read)
	})
	for n := range read {
		if !p.pass(ctx, way, n.due) {
			return
		}
		if p.lost(l, way) {
			continue
		}
		if !p.forward(ctx, way, n.bytes, to) {
			return
		}
	}
	p.pass(ctx, way, time.Time{}) // the end is held back, too
}

// forward writes bytes as fast as the way carries them, in packets, so that
// connections share it; false: the link has ended.
func (p *Proxy) forward(ctx context.Context, way Way, bytes []byte, to net.Conn) bool {
	for len(bytes) > 0 {
		packet := bytes[:min(packetBytes, len(bytes))]
		if !p.pass(ctx, way, p.carried(way, len(packet))) {
			return false
		}
		if _, err := to.Write(packet); err != nil {
			return false
		}
		bytes = bytes[len(packet):]
	}
	return true
}

func (p *Proxy) read(ctx context.Context, from net.Conn, out chan<- piece) {
	for {
		b := make([]byte, pieceBytes)
		n, err := from.Read(b)
		if n > 0 {
			f, _ := p.now()
			select {
			case out <- piece{b[:n], time.Now().Add(f.Latency)}:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits until bytes may continue; false: the link has ended first.
func (p *Proxy) pass(ctx context.Context, way Way, due time.Time) bool {
	for {
		f, changed := p.now()
		var wait <-chan time.Time
		if f.Hold&way == 0 {
			left := time.Until(due)
			if left <= 0 {
				return ctx.Err() == nil
			}
			wait = time.After(left)
		}
		select {
		case <-wait:
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// lost reports whether bytes on that way are lost, and remembers a loss.
func (p *Proxy) lost(l *link, way Way) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.lose&way == 0 {
		return false
	}
	l.holed |= way
	return true
}

func (l *link) close() {
	_ = l.client.Close()
	_ = l.target.Close()
}

func (l *link) reset() {
	reset(l.client)
	reset(l.target)
}

// reset closes a connection as a crash of the other side does.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
