package access

import (
	"context"
	"log/slog"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/connect"
	"github.com/modpipe/modpipe/internal/store"
)

// Dial connects to a target, and creates what is missing there. With timeout 0 it tries
// until ctx ends.
func (o *Opener) Dial(ctx context.Context, t connect.Target, timeout time.Duration, log *slog.Logger) (*broker.Conn, error) {
	return o.dial(ctx, t, broker.Config{ConnectTimeout: timeout, Logger: log})
}

// DialWorker connects a worker to a target. A worker creates nothing: it waits.
func (o *Opener) DialWorker(ctx context.Context, t connect.Target, timeout time.Duration, log *slog.Logger) (*broker.Conn, error) {
	return o.dial(ctx, t, broker.Config{ConnectTimeout: timeout, Logger: log, Joins: true})
}

func (o *Opener) dial(ctx context.Context, t connect.Target, cfg broker.Config) (*broker.Conn, error) {
	cfg.URL, cfg.Name, cfg.Options, cfg.Inbox, cfg.Replicas = t.URL, "modpipe "+o.NATS.Program, t.Options, t.Inbox, o.NATS.Connection.Replicas
	c, err := broker.Connect(ctx, cfg)
	if err != nil {
		return nil, o.NATS.Explain(t, err)
	}
	return o.withKeys(c), nil
}

// Join connects to a server that another process of this user embeds.
func (o *Opener) Join(ctx context.Context, h store.Holder, timeout time.Duration) (*broker.Conn, error) {
	return o.Dial(ctx, connect.Held(h), timeout, slog.New(slog.DiscardHandler))
}
