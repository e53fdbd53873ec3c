package jetstream

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/internal/pause"
)

// leastBytes is the lowest limit of a created stream on a small server.
const leastBytes = 16 << 20

// creations is how often the creation of a stream is tried whose store the server
// could not create.
const creations = 5

// placed returns a stream with the configured storage and replicas.
func (c *Conn) placed(cfg jetstream.StreamConfig) jetstream.StreamConfig {
	cfg.Replicas = cmp.Or(c.cfg.Replicas, 1)
	if c.cfg.Memory {
		cfg.Storage = jetstream.MemoryStorage
	}
	return cfg
}

// Ensure creates the missing streams of the configuration. (A restart of the
// server removes memory streams.) It refuses one that is another (ErrForeign), and
// keeps the settings of the administrator of NATS.
func (c *Conn) Ensure(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, cfg := range c.cfg.Streams {
		g.Go(func() error {
			_, err := c.ensureStream(ctx, c.placed(cfg))
			return err
		})
	}
	return g.Wait()
}

// ensureStream creates a stream unless it exists, and returns its configuration. A
// denied permission is an error only when the stream is known to be missing.
func (c *Conn) ensureStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.StreamConfig, error) {
	have, err := c.StreamInfo(ctx, cfg.Name)
	switch {
	case err == nil:
		return c.accept(ctx, &cfg, &have.Config)
	case errors.Is(err, ErrDenied):
		return cfg, nil
	case !errors.Is(err, ErrNotFound):
		return cfg, fmt.Errorf("find stream %s: %w", cfg.Name, err)
	}
	if err := c.createStream(ctx, cfg); err != nil {
		return cfg, fmt.Errorf("create stream %s: %w", cfg.Name, err)
	}
	return cfg, nil
}

// createStream creates a stream, with a lower limit if the server's store is
// smaller than the limit.
//
// It creates one stream after the other: a server that creates several
// simultaneously may reserve more than it has, and then refuses all further
// streams. A server that two programs ask for the same stream at the same moment
// may fail one of them, so a failure to create the store is tried again.
func (c *Conn) createStream(ctx context.Context, cfg jetstream.StreamConfig) error {
	select {
	case c.creating <- struct{}{}:
		defer func() { <-c.creating }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for tries := 1; ; {
		body, err := json.Marshal(cfg)
		if err != nil {
			return err
		}
		_, err = c.API(ctx, "STREAM.CREATE."+cfg.Name, body)
		switch {
		case err == nil, errorCode(err) == codeNameInUse:
			return nil
		case noRoomFor(err) && cfg.MaxBytes > leastBytes:
			cfg.MaxBytes /= 2
		case noRoomFor(err) && cfg.MaxBytes > 0: // other streams reserve the whole store: take a part of the unused space
			cfg.MaxBytes = -1
		case errorCode(err) == codeNotCreated && tries < creations:
			if err := pause.For(ctx, time.Duration(tries)*50*time.Millisecond); err != nil {
				return err
			}
			tries++
		default:
			return unplaced(cfg, err)
		}
	}
}

// Recreate creates the streams that the server has lost, when no stream answers,
// at most once a second: a restart of the server removes a memory stream.
func (c *Conn) Recreate(ctx context.Context) {
	now := time.Now().UnixNano()
	last := c.recreated.Load()
	if now-last < int64(time.Second) || !c.recreated.CompareAndSwap(last, now) {
		return
	}
	for _, cfg := range c.cfg.Streams {
		missing, known := c.findStream(ctx, cfg.Name)
		if !known {
			return
		}
		if !missing {
			continue
		}
		if c.room.due("loss of "+cfg.Name, time.Now()) {
			c.log.Warn("NATS has lost a stream; creating it again", "stream", cfg.Name, "url", c.URL())
		}
		if err := c.createStream(ctx, c.placed(cfg)); err != nil {
			if c.room.due("creation of "+cfg.Name, time.Now()) {
				c.log.Error("a lost stream cannot be created again", "stream", cfg.Name, "url", c.URL(), "error", err)
			}
		}
	}
}

// findPatience bounds the question whether a stream exists. A cluster that elects
// a leader does not answer, and the caller's own retry must not wait for seconds
// after the election.
const findPatience = 300 * time.Millisecond

// findStream reports whether a stream is missing. known = the server answered.
func (c *Conn) findStream(ctx context.Context, stream string) (missing, known bool) {
	ctx, cancel := context.WithTimeout(ctx, findPatience)
	defer cancel()
	m, err := c.APIOnce(ctx, "STREAM.INFO."+stream, nil)
	return errors.Is(err, ErrNotFound), m != nil
}

// StreamInfo returns the state of a stream, or ErrNotFound.
func (c *Conn) StreamInfo(ctx context.Context, stream string) (*jetstream.StreamInfo, error) {
	return retry(ctx, c, func(ctx context.Context) (*jetstream.StreamInfo, error) { return c.StreamInfoOnce(ctx, stream) })
}

// StreamInfoOnce is StreamInfo without retries.
func (c *Conn) StreamInfoOnce(ctx context.Context, stream string) (*jetstream.StreamInfo, error) {
	m, err := c.APIOnce(ctx, "STREAM.INFO."+stream, nil)
	if err != nil {
		return nil, err
	}
	info := new(jetstream.StreamInfo)
	if err := json.Unmarshal(m.Data, info); err != nil {
		return nil, fmt.Errorf("read the state of stream %s: %w", stream, err)
	}
	return info, nil
}

// Usage is the size of a stream.
type Usage struct {
	Bytes    int64
	MaxBytes int64     // 0 = no limit
	Now      time.Time // the server's clock; the local one when the server omits it
}

// Usage returns the size of a stream.
func (c *Conn) Usage(ctx context.Context, stream string) (Usage, error) {
	info, err := c.StreamInfo(ctx, stream)
	if err != nil {
		return Usage{}, fmt.Errorf("ask for the size of %s: %w", stream, err)
	}
	u := Usage{Bytes: int64(info.State.Bytes), MaxBytes: max(info.Config.MaxBytes, 0), Now: info.TimeStamp} //nolint:gosec // bytes on a disk
	if u.Now.IsZero() {
		u.Now = time.Now()
	}
	return u, nil
}

// Purge removes the messages of a subject.
func (c *Conn) Purge(ctx context.Context, stream, subject string) error {
	query := fmt.Appendf(nil, `{"filter":%q}`, subject)
	if _, err := c.API(ctx, "STREAM.PURGE."+stream, query); err != nil {
		return fmt.Errorf("purge %s: %w", subject, err)
	}
	return nil
}

// PurgeBelow removes the messages of a subject before a sequence, and returns
// their number.
func (c *Conn) PurgeBelow(ctx context.Context, stream, subject string, seq uint64) (purged uint64, err error) {
	query := fmt.Appendf(nil, `{"filter":%q,"seq":%s}`, subject, strconv.FormatUint(seq, 10))
	m, err := c.API(ctx, "STREAM.PURGE."+stream, query)
	if err != nil {
		return 0, fmt.Errorf("purge %s before %d: %w", subject, seq, err)
	}
	var done struct {
		Purged uint64 `json:"purged"`
	}
	if err := json.Unmarshal(m.Data, &done); err != nil {
		return 0, fmt.Errorf("purge %s before %d: %w", subject, seq, err)
	}
	return done.Purged, nil
}

// PurgeSoon removes the messages of a subject without waiting; the request may be
// lost.
func (c *Conn) PurgeSoon(stream, subject string) {
	query := fmt.Appendf(nil, `{"filter":%q}`, subject)
	c.calls.send(&nats.Msg{Subject: apiPrefix + "STREAM.PURGE." + stream, Data: query}, func(*nats.Msg, error) {})
}

const apiPrefix = "$JS.API."

// API asks the JetStream API, and retries after transient errors.
func (c *Conn) API(ctx context.Context, subject string, body []byte) (*nats.Msg, error) {
	return retry(ctx, c, func(ctx context.Context) (*nats.Msg, error) { return c.APIOnce(ctx, subject, body) })
}

// APIOnce is API without retries.
func (c *Conn) APIOnce(ctx context.Context, subject string, body []byte) (*nats.Msg, error) {
	m, err := c.Request(ctx, &nats.Msg{Subject: apiPrefix + subject, Data: body})
	if err != nil {
		return nil, err
	}
	return m, answerError(m.Data)
}
