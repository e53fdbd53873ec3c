package jetstream

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Headers of the answer to a direct get.
const (
	headerSequence = "Nats-Sequence"
	headerStamp    = "Nats-Time-Stamp"
	headerSubject  = "Nats-Subject"
)

// Direct asks any replica of a stream for the newest message of a subject, and
// calls done once, on any goroutine; done must not block. The error is ErrNotFound
// when that replica has none: one that is behind may lack what the leader has.
//
// The answer uses the connection for values. bytes is about how long it is: Direct
// waits until the link has room for it among what all readers have asked for. It
// asks once.
func (c *Conn) Direct(ctx context.Context, stream, subject string, bytes int, done func(Message, error)) {
	if err := c.pinned(ctx); err != nil {
		done(Message{}, err)
		return
	}
	d := c.carrier(ctx)
	parcel, err := d.intake.begin(ctx, bytes)
	if err != nil {
		done(Message{}, err)
		return
	}
	m := &nats.Msg{Subject: apiPrefix + "DIRECT.GET." + stream + "." + subject}
	d.calls.request(m, bytes, func(answer *nats.Msg, err error) {
		d.intake.end(parcel, err == nil)
		if err != nil {
			done(Message{}, c.closedMeans(err))
			return
		}
		done(parseDirect(answer))
	})
}

// parseDirect reads the answer to a direct get.
func parseDirect(m *nats.Msg) (Message, error) {
	if status := m.Header.Get("Status"); status != "" && len(m.Data) == 0 && m.Header.Get(headerSequence) == "" {
		if status == "404" {
			return Message{}, ErrNotFound
		}
		return Message{}, fmt.Errorf("%w: a direct get is answered %.10q %.100q", ErrNotReady, status, m.Header.Get("Description"))
	}
	seq, err := strconv.ParseUint(m.Header.Get(headerSequence), 10, 64)
	if err != nil {
		return Message{}, fmt.Errorf("read the answer to a direct get: %w", err)
	}
	stored, err := time.Parse(time.RFC3339Nano, m.Header.Get(headerStamp))
	if err != nil {
		return Message{}, fmt.Errorf("read the answer to a direct get: %w", err)
	}
	return Message{&nats.Msg{Subject: m.Header.Get(headerSubject), Header: m.Header, Data: m.Data}, seq, stored.UTC()}, nil
}

// Retry calls op until it succeeds, fails with an error that is not transient, or
// ctx ends. Each try waits for the connection first.
func (c *Conn) Retry(ctx context.Context, op func(context.Context) error) error {
	_, err := retry(ctx, c, func(ctx context.Context) (struct{}, error) { return struct{}{}, op(ctx) })
	return err
}

// ChunkBytes is how many bytes of a value one message should hold: what the link
// carries in a short time, limited by the server's maximum.
func (c *Conn) ChunkBytes(ctx context.Context) int { return c.carrier(ctx).chunkBytes() }
