package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
)

const (
	logChunk  = 32 << 10 // as a worker makes them
	logFlight = 64       // as a worker has them on their way
)

// sample is the data for a link. It does not compress.
type sample struct {
	cell *cell
	data []byte
}

func newSample(c *cell) *sample {
	r := rand.New(rand.NewPCG(uint64(c.MbitPerS), uint64(c.RTTMS))) //nolint:gosec // not secret
	s := &sample{c, make([]byte, c.Bytes)}
	for i := range s.data {
		s.data[i] = byte(r.Uint32())
	}
	return s
}

// value returns the sample as an output with a new name every time, because known digests
// are not sent again.
func (s *sample) value(name string) map[string]string {
	return map[string]string{name: hex.EncodeToString(s.data)[:len(s.data)]}
}

func (s *sample) key() jobs.AttemptID {
	return jobs.AttemptID{Module: jobs.ModuleID(fmt.Sprintf("m%d_%d", s.cell.MbitPerS, s.cell.RTTMS)), Attempt: 1}
}

// ends are a connection over the link, and one beside the server.
type ends struct{ far, near *broker.Conn }

// over measures a transfer on its own connection.
func (s *sample) over(near *broker.Conn, move func(context.Context, *sample, ends) (time.Duration, error)) func(context.Context, string) (time.Duration, error) {
	return func(ctx context.Context, target string) (took time.Duration, err error) {
		err = s.cell.through(ctx, target, func(addr string) error {
			far, err := broker.Connect(ctx, broker.Config{URL: "nats://" + addr})
			if err != nil {
				return err
			}
			defer far.Close()
			took, err = move(ctx, s, ends{far, near})
			return err
		})
		return took, err
	}
}

func valueUp(ctx context.Context, s *sample, e ends) (time.Duration, error) {
	value := s.value("up")
	began := time.Now()
	_, err := e.far.Values.Put(ctx, jobs.OutputsOf(value))
	return time.Since(began), err
}

func valueDown(ctx context.Context, s *sample, e ends) (time.Duration, error) {
	value := s.value("down")
	stored, err := e.near.Values.Put(ctx, jobs.OutputsOf(value))
	if err != nil {
		return 0, err
	}
	began := time.Now()
	got, err := e.far.Values.Outputs(ctx, stored)
	if err == nil && got["down"] != value["down"] {
		err = errors.New("another value arrived")
	}
	return time.Since(began), err
}

// logUp sends the sample as a worker sends what a command writes.
func logUp(ctx context.Context, s *sample, e ends) (time.Duration, error) {
	began := time.Now()
	var sent []func(context.Context) error
	for n, at := 1, 0; at < len(s.data); n, at = n+1, at+logChunk {
		if len(sent) >= logFlight {
			if err := sent[0](ctx); err != nil {
				return 0, err
			}
			sent = sent[1:]
		}
		part := jobs.LogPart{Stream: jobs.Stdout, Data: s.data[at:min(at+logChunk, len(s.data))]}
		wait, err := e.far.Logs.Send(ctx, "r", s.key(), jobs.LogChunk{Writer: "w", Number: n, Time: time.Now(), Parts: []jobs.LogPart{part}})
		if err != nil {
			return 0, err
		}
		sent = append(sent, wait)
	}
	for _, wait := range sent {
		if err := wait(ctx); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// logDown reads what logUp has sent.
func logDown(ctx context.Context, s *sample, e ends) (time.Duration, error) {
	began, bytes := time.Now(), 0
	err := e.far.Logs.Read(ctx, "r", s.key().Module, 1, func(l broker.LogEntry) error {
		for _, p := range l.Chunk.Parts {
			bytes += len(p.Data)
		}
		return nil
	})
	if err == nil && bytes != len(s.data) {
		err = fmt.Errorf("%d of %d bytes arrived", bytes, len(s.data))
	}
	return time.Since(began), err
}

// copyUp measures the floor: a copy over TCP, until the other side confirms all bytes.
func (s *sample) copyUp(ctx context.Context, _ string) (time.Duration, error) {
	return s.plain(ctx, func(c net.Conn) error {
		_, err := io.CopyN(io.Discard, c, int64(len(s.data)))
		if err == nil {
			_, err = c.Write([]byte{1})
		}
		return err
	}, func(c net.Conn) error {
		if _, err := c.Write(s.data); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 1))
		return err
	})
}

// copyDown is the other way, from the moment at which it is asked for.
func (s *sample) copyDown(ctx context.Context, _ string) (time.Duration, error) {
	return s.plain(ctx, func(c net.Conn) error {
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			return err
		}
		_, err := c.Write(s.data)
		return err
	}, func(c net.Conn) error {
		if _, err := c.Write([]byte{1}); err != nil {
			return err
		}
		_, err := io.CopyN(io.Discard, c, int64(len(s.data)))
		return err
	})
}

// plain measures what the far side does on a TCP connection through the link.
func (s *sample) plain(ctx context.Context, near, far func(net.Conn) error) (took time.Duration, err error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	served := make(chan error, 1)
	go func() { served <- serveOnce(l, near) }()
	err = s.cell.through(ctx, l.Addr().String(), func(addr string) error {
		began := time.Now()
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }() // all has been read
		err = far(c)
		took = time.Since(began)
		return err
	})
	_ = l.Close() // ends an Accept without a client
	return took, errors.Join(err, <-served)
}

func serveOnce(l net.Listener, f func(net.Conn) error) error {
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // the other side has all bytes, or receives the end
	return f(c)
}
