package broker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	reconnectWait = 100 * time.Millisecond
	reconnectMost = 2 * time.Second
	saySoEvery    = 10 * time.Second
)

// dial connects, waiting as long as the configuration and ctx allow.
func (c *Conn) dial(ctx context.Context) error {
	var tried tries
	nc, err := nats.Connect(c.cfg.URL, append(c.options(&tried), c.cfg.Options...)...)
	if err != nil {
		return c.unreachable(err)
	}
	c.nc = nc
	tried.nc.Store(nc)
	if nc.IsConnected() {
		tried.connected.Store(true)
		c.link.rise(false)
	}
	if err := c.awaitFirst(ctx); err != nil {
		nc.Close()
		return err
	}
	if err := c.calls.open(nc); err != nil {
		nc.Close()
		return err
	}
	return nil
}

func (c *Conn) options(t *tries) []nats.Option {
	return []nats.Option{
		nats.Name(c.cfg.Name),
		nats.CustomInboxPrefix(c.cfg.Inbox),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.CustomReconnectDelay(func(rounds int) time.Duration { return c.again(t, rounds) }),
		nats.ReconnectBufSize(-1), // nothing is sent late
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(c.onError),
		nats.ConnectHandler(func(*nats.Conn) { t.connected.Store(true); c.link.rise(false) }),
		nats.ReconnectHandler(c.onReconnect),
		nats.DisconnectErrHandler(c.onDisconnect),
		nats.ClosedHandler(c.onClosed),
	}
}

// tries are the attempts to connect. What is not atomic belongs to the
// goroutine of the client that connects.
type tries struct {
	nc        atomic.Pointer[nats.Conn]
	connected atomic.Bool // once at least
	insecure  int         // so many in a row
	said      string      // what was last said of them
}

// again is called after every round through all servers that came to nothing,
// and returns the pause before the next. What does not pass is said, and ends
// a first connection.
func (c *Conn) again(t *tries, rounds int) time.Duration {
	nc := t.nc.Load()
	if nc == nil {
		return reconnectDelay(rounds)
	}
	err := nc.LastError()
	if !insecure(err) {
		t.insecure, t.said = 0, ""
		return reconnectDelay(rounds)
	}
	t.insecure++
	switch {
	case t.insecure < insecureTries:
	case !t.connected.Load():
		c.link.end(c.unreachable(err))
	case t.said != err.Error():
		t.said = err.Error()
		c.log.Warn("no connection to NATS; trying again", "error", err)
	}
	return reconnectDelay(rounds)
}

// reconnectDelay grows with the rounds through all servers: quick for a
// restart, gentle in an outage. The jitter keeps a fleet from coming at once.
func reconnectDelay(rounds int) time.Duration {
	d := min(reconnectWait<<min(max(rounds-1, 0), 10), reconnectMost)
	return d/2 + time.Duration(time.Now().UnixNano()%int64(d/2+1))
}

// awaitFirst waits for the first connection.
func (c *Conn) awaitFirst(ctx context.Context) error {
	if t := c.cfg.ConnectTimeout; t > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, t, fmt.Errorf("no connection within %v", t))
		defer cancel()
	}
	for first := true; ; first = false {
		wait, cancel := context.WithTimeout(ctx, c.patience(first))
		err := c.link.await(wait)
		over := wait.Err() == nil
		cancel()
		switch {
		case err == nil:
			return nil
		case over: // it was given up
			return err
		case ctx.Err() != nil:
			return c.unreachable(errors.Join(context.Cause(ctx), c.nc.LastError()))
		}
		waiting := []any{"url", redact(c.cfg.URL)}
		if err := c.nc.LastError(); err != nil {
			waiting = append(waiting, "error", err)
		}
		c.log.Warn("waiting for NATS", waiting...)
	}
}

func (c *Conn) patience(first bool) time.Duration {
	if first {
		return time.Second
	}
	return saySoEvery
}

// unreachable says that no connection came about, and why. A refusal of the
// credentials, or of a certificate, is no matter of reaching.
func (c *Conn) unreachable(why error) error {
	url := redact(c.cfg.URL)
	if url == "" {
		url = "the embedded server"
	}
	if errors.Is(why, nats.ErrAuthorization) || errors.Is(why, nats.ErrAuthExpired) || errors.Is(why, nats.ErrAuthRevoked) ||
		errors.Is(why, nats.ErrAccountAuthExpired) {
		return fmt.Errorf("%w: %s does not accept these credentials: %w", ErrDenied, url, why)
	}
	if insecure(why) {
		return fmt.Errorf("%w with %s: %w", ErrInsecure, url, why)
	}
	return fmt.Errorf("%w at %s: %w", ErrUnreachable, url, why)
}

func (c *Conn) onDisconnect(_ *nats.Conn, err error) {
	c.link.fall()
	c.calls.fail(errLost, func(call) bool { return true })
	if err != nil {
		c.log.Warn("lost the connection to NATS; reconnecting", "error", err)
	}
}

func (c *Conn) onReconnect(nc *nats.Conn) {
	c.calls.refuse(nil) // permissions may have changed
	c.link.rise(true)
	c.log.Info("reconnected to NATS", "url", nc.ConnectedUrlRedacted())
}

func (c *Conn) onClosed(nc *nats.Conn) {
	why := nc.LastError()
	if why == nil {
		why = nats.ErrConnectionClosed
	}
	c.link.end(c.unreachable(why))
	c.calls.refuse(fmt.Errorf("%w: %w", ErrUnreachable, nats.ErrConnectionClosed))
}

func (c *Conn) onError(_ *nats.Conn, sub *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		if c.denied.heard(err) == 0 {
			c.log.Warn("NATS denies a permission", "error", err)
		}
	case errors.Is(err, nats.ErrSlowConsumer) && sub != nil:
		c.log.Debug("a reader is slower than NATS", "subject", sub.Subject)
	default:
		c.log.Warn("NATS reports an error", "error", err)
	}
}
