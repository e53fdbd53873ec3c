package jetstream

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Values and output use a second connection, so that heartbeats, leases and
// control never wait behind them in the client, the socket or the server. It is
// opened when it is first needed. A server in the same process needs none. Where
// a second connection is not allowed, everything uses the first.

const (
	dataPatience = 5 * time.Second  // for the second connection
	dataRetry    = time.Minute      // until the next attempt to open it
	stallAfter   = 10 * time.Second // without any answer: then a transfer has stalled
	answerWithin = time.Minute      // for one message, even if others are answered
)

// data is the second connection of a Conn.
type data struct {
	mu    sync.Mutex
	conn  *Conn
	retry time.Time // of the next attempt
	down  time.Time // when it broke while the first connection is up; zero = it is up
}

// carrier returns the connection for values and output.
func (c *Conn) carrier(ctx context.Context) *Conn {
	if c.data == nil {
		return c
	}
	c.data.mu.Lock()
	defer c.data.mu.Unlock()
	now := time.Now()
	if d := c.data.conn; d != nil {
		if d.nc.IsConnected() || !c.nc.IsConnected() {
			c.data.down = time.Time{}
			return d
		}
		if c.data.down.IsZero() {
			c.data.down = now
		}
		if now.Sub(c.data.down) < dataPatience {
			return d
		}
		return c
	}
	if now.Before(c.data.retry) || !c.nc.IsConnected() {
		return c
	}
	d, err := c.openData(ctx)
	if err != nil {
		if ctx.Err() == nil {
			c.data.retry = now.Add(dataRetry)
			c.log.Warn("no second connection to NATS: values and output share the one of the heartbeats", "url", c.URL(), "error", err)
		}
		return c
	}
	c.data.conn = d
	return d
}

// openData opens the second connection. It logs nothing, because the first
// connection logs the same; denials of permissions differ.
func (c *Conn) openData(ctx context.Context) (*Conn, error) {
	cfg := c.cfg
	cfg.Joins = false // nothing is prepared on it
	cfg.ConnectTimeout = dataPatience
	if cfg.Name != "" {
		cfg.Name += " (data)"
	}
	d := newConn(cfg)
	d.log = slog.New(slog.DiscardHandler)
	d.calls.patient = true
	d.denied.settled = c.denied.atWork()
	if err := d.dial(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// inside reports whether the server is in this process.
func inside(options []nats.Option) bool {
	o := nats.Options{}
	for _, option := range options {
		if option(&o) != nil {
			return false // connecting reports the error
		}
	}
	return o.InProcessServer != nil
}

// unpinned returns a context for the second connection, which has other numbers.
func unpinned(ctx context.Context) context.Context {
	if _, ok := ctx.Value(pinKey{}).(uint64); !ok {
		return ctx
	}
	return context.WithValue(ctx, pinKey{}, nil)
}

// closeData closes the second connection.
func (c *Conn) closeData() {
	if c.data == nil {
		return
	}
	c.data.mu.Lock()
	defer c.data.mu.Unlock()
	c.data.retry = time.Now().Add(time.Hour)
	if c.data.conn != nil {
		c.data.conn.Close()
	}
}
