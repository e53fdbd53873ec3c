package jetstream

import (
	"context"
	"log/slog"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/redact"
)

// Server describes the server at the other end of a connection.
type Server struct {
	URL                    string // without credentials
	Name, Version, Cluster string
	MaxPayload             int64 // bytes of one message
}

// Server describes the connected server.
func (c *Conn) Server() Server {
	return Server{
		URL: c.URL(), Name: c.nc.ConnectedServerName(), Version: c.nc.ConnectedServerVersion(),
		Cluster: c.nc.ConnectedClusterName(), MaxPayload: c.nc.MaxPayload(),
	}
}

// MaxBody is the largest body that the server takes in a message with headers, in
// bytes.
func (c *Conn) MaxBody() int { return max(int(c.nc.MaxPayload())-headRoom, 0) }

// Logger is where the connection reports.
func (c *Conn) Logger() *slog.Logger { return c.log }

// BytesReceived is how many bytes have arrived on the connection for short
// messages.
func (c *Conn) BytesReceived() uint64 { return c.nc.Stats().InBytes }

// Ping waits for the server's answer to a ping. It arrives after everything that
// the server had sent before, denials of permissions included.
func (c *Conn) Ping(ctx context.Context) error { return c.nc.FlushWithContext(ctx) }

// StatusChanged returns a channel of the states that the connection enters, until
// ctx ends.
func (c *Conn) StatusChanged(ctx context.Context, states ...nats.Status) <-chan nats.Status {
	changes := c.nc.StatusChanged(states...)
	context.AfterFunc(ctx, func() { c.nc.RemoveStatusListener(changes) })
	return changes
}

// URL returns the connected server's URL without credentials, or the configured
// ones while there is no connection.
func (c *Conn) URL() string {
	if url := c.nc.ConnectedUrlRedacted(); url != "" {
		return redact.URLs(url)
	}
	return redact.URLs(c.cfg.URL)
}
