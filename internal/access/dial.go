package access

import (
	"context"
	"log/slog"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/connect"
	"github.com/modpipe/modpipe/internal/store"
)

// Dial connects to a target. With timeout 0 it tries until ctx ends.
func (o *Opener) Dial(ctx context.Context, t connect.Target, timeout time.Duration, log *slog.Logger) (*broker.Conn, error) {
	c, err := broker.Connect(ctx, broker.Config{
		URL: t.URL, Name: "modpipe " + o.NATS.Program, Options: t.Options, ConnectTimeout: timeout, Replicas: o.NATS.Connection.Replicas, Logger: log,
	})
	if err != nil {
		return nil, o.NATS.Explain(t, err)
	}
	return c, nil
}

// Join connects to a server that another process of this user embeds.
func (o *Opener) Join(ctx context.Context, h store.Holder, timeout time.Duration) (*broker.Conn, error) {
	return o.Dial(ctx, connect.Held(h), timeout, slog.New(slog.DiscardHandler))
}
