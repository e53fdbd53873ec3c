package jetstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/redact"
)

const (
	reconnectWait   = 100 * time.Millisecond
	reconnectMost   = 2 * time.Second
	waitReportEvery = 10 * time.Second
)

// dial connects, waiting as long as the configuration and ctx allow.
func (c *Conn) dial(ctx context.Context) error {
	tried := new(tries)
	nc, err := nats.Connect(c.cfg.URL, append(c.options(tried), c.cfg.Options...)...)
	if err != nil {
		return c.unreachable(err)
	}
	c.nc = nc
	tried.nc.Store(nc)
	if nc.IsConnected() {
		tried.succeeded()
		c.link.rise(false)
	}
	if err := c.awaitFirst(ctx, tried); err != nil {
		nc.Close()
		return err
	}
	c.ConnectedFor(c.Connection())
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
		nats.CustomReconnectDelay(func(rounds int) time.Duration { return c.nextAttempt(t, rounds) }),
		nats.ReconnectBufSize(-1), // nothing is sent late
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.IgnoreAuthErrorAbort(), // nextAttempt decides
		nats.SetCustomDialer(&dialer{net.Dialer{Timeout: nats.DefaultTimeout}, t}),
		nats.ErrorHandler(c.onError),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { t.failed(err) }),
		nats.ConnectHandler(func(*nats.Conn) { t.succeeded(); c.link.rise(false) }),
		nats.ReconnectHandler(func(*nats.Conn) { t.succeeded(); c.onReconnect() }),
		nats.DisconnectErrHandler(c.onDisconnect),
		nats.ClosedHandler(c.onClosed),
	}
}

// nextAttempt is called after every failed round through all servers, and returns the
// pause before the next round. A permanent reason ends the attempts at a first
// connection. Later the program waits in every case: the server may reload its
// configuration, and the service that knows the users may return.
func (c *Conn) nextAttempt(t *tries, rounds int) time.Duration {
	why := t.why()
	if !insecure(why) && !refused(why) {
		t.final = 0
	} else {
		t.final++
	}
	switch {
	case !t.connected.Load() && (t.final >= insecureTries || t.final >= refusedTries && refused(why)):
		c.link.end(c.unreachable(why))
	case t.connected.Load() || t.reported():
		if err := t.unreported(); err != nil {
			c.log.Warn("no connection to NATS; trying again", "url", c.URL(), "error", c.explained(err))
		}
	}
	return reconnectDelay(rounds)
}

// refusedTries is how often in a row a server may refuse the credentials of a
// first connection.
const refusedTries = 2

// refused reports whether the server refuses the credentials.
func refused(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) ||
		errors.Is(err, nats.ErrAccountAuthExpired)
}

// explained adds ErrRefused to a refusal of the credentials.
func (c *Conn) explained(err error) error {
	if refused(err) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// reconnectDelay grows with the rounds through all servers: it is short for a
// restart and long in an outage. The jitter spreads the connections of a fleet.
func reconnectDelay(rounds int) time.Duration {
	d := min(reconnectWait<<min(max(rounds-1, 0), 10), reconnectMost)
	return d/2 + time.Duration(time.Now().UnixNano()%int64(d/2+1))
}

// awaitFirst waits for the first connection.
func (c *Conn) awaitFirst(ctx context.Context, t *tries) error {
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
		case over: // the attempts have ended
			return err
		case ctx.Err() != nil:
			return c.unreachable(late(context.Cause(ctx), t.why()))
		}
		waiting := []any{"url", redact.URLs(c.cfg.URL)}
		_ = t.unreported() // the warning below is the report
		if err := t.why(); err != nil {
			waiting = append(waiting, "error", c.explained(err))
		}
		c.log.Warn("waiting for NATS", waiting...)
	}
}

// late is the end of a wait, with the reason of the last failed attempt.
func late(cause, why error) error {
	if why == nil {
		return cause
	}
	return fmt.Errorf("%w: %w", cause, why)
}

func (c *Conn) patience(first bool) time.Duration {
	if first {
		return time.Second
	}
	return waitReportEvery
}

// unreachable is the error of a failed connection: ErrRefused for refused
// credentials, ErrInsecure for TLS, else ErrUnreachable.
func (c *Conn) unreachable(why error) error {
	url := redact.URLs(c.cfg.URL)
	if url == "" {
		url = "the embedded server"
	}
	if refused(why) {
		return fmt.Errorf("%w: %s: %w", ErrRefused, url, why)
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
		c.log.Warn("lost the connection to NATS; reconnecting", "url", c.URL(), "error", c.explained(withoutPorts(err)))
	}
}

func (c *Conn) onReconnect() {
	c.ConnectedFor(c.Connection())
	c.calls.refuse(nil) // permissions may have changed
	c.link.rise(true)
	c.log.Info("reconnected to NATS", "url", c.URL())
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
		if c.denied.received(err) == 0 {
			c.log.Warn("NATS denies a permission", "url", c.URL(), "error", err)
		}
	case refused(err): // nextAttempt reports it
	case errors.Is(err, nats.ErrSlowConsumer) && sub != nil:
		c.log.Debug("a reader is slower than NATS", "subject", sub.Subject)
	default:
		c.log.Warn("NATS reports an error", "url", c.URL(), "error", err)
	}
}
