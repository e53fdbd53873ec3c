package jetstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
)

const headerExpected = "Nats-Expected-Last-Subject-Sequence"

// ExpectLast makes m a compare-and-set on its subject's last sequence.
func ExpectLast(m *nats.Msg, seq uint64) { SetHeader(m, headerExpected, strconv.FormatUint(seq, 10)) }

// SetHeader sets one header of m.
func SetHeader(m *nats.Msg, key, value string) {
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	m.Header[key] = []string{value}
}

// Store publishes m to its stream and waits for the acknowledgement, once. It
// returns the sequence of the message.
func (c *Conn) Store(ctx context.Context, m *nats.Msg) (uint64, error) {
	answer, err := c.Request(ctx, m)
	if err != nil {
		return 0, err
	}
	return stored(answer.Data)
}

// Request sends m and waits for the answer, once.
func (c *Conn) Request(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	if err := c.pinned(ctx); err != nil {
		return nil, err
	}
	return c.calls.ask(ctx, m)
}

// Ask is Request for an answer that JetStream gives: it returns the error in the
// answer.
func (c *Conn) Ask(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	answer, err := c.Request(ctx, m)
	if err != nil || len(answer.Data) == 0 || answer.Data[0] != '{' { // a status is the whole answer
		return answer, err
	}
	return answer, answerError(answer.Data)
}

// Publish sends a message that no stream acknowledges. It may be lost.
func (c *Conn) Publish(m *nats.Msg) error { return c.nc.PublishMsg(m) }

// StoreAsync publishes m to a stream and calls done once, from another goroutine.
// It waits for a place in the window, and sends in the order of the calls. It
// does not retry, and reports a full stream.
func (c *Conn) StoreAsync(ctx context.Context, stream string, m *nats.Msg, done func(uint64, error)) {
	select {
	case c.window <- struct{}{}:
	case <-ctx.Done():
		c.Later(func() { done(0, context.Cause(ctx)) })
		return
	}
	if err := c.pinned(ctx); err != nil {
		<-c.window
		c.Later(func() { done(0, err) })
		return
	}
	c.calls.send(m, func(answer *nats.Msg, err error) {
		<-c.window
		c.Later(func() {
			if err != nil {
				done(0, c.closedMeans(err))
				return
			}
			seq, err := stored(answer.Data)
			switch {
			case errors.Is(err, ErrFull):
				c.missing(ctx, stream, err)
			case err == nil:
				c.found(stream)
			}
			done(seq, err)
		})
	})
}

// Later calls f on another goroutine, after the functions of earlier calls and the
// done functions of earlier answers.
func (c *Conn) Later(f func()) { c.after.push(f) }

// StoreBulk sends a message of much data when the window of the link has room for
// it, and returns a channel for the error of its acknowledgement.
func (c *Conn) StoreBulk(ctx context.Context, m *nats.Msg) (<-chan error, error) {
	if err := c.pinned(ctx); err != nil {
		return nil, err
	}
	d := c.carrier(ctx)
	parcel, err := d.flow.begin(ctx, m.Size())
	if err != nil {
		return nil, err
	}
	answered := make(chan error, 1)                                         // so that the call never blocks
	copied := &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data} // a call sets the reply
	d.calls.send(copied, func(answer *nats.Msg, err error) {
		d.flow.end(parcel, err == nil)
		if err == nil {
			_, err = stored(answer.Data)
		}
		answered <- err
	})
	return answered, nil
}

// stored reads the acknowledgement of a publish.
func stored(ack []byte) (uint64, error) {
	if bytes.Contains(ack, []byte(`"error"`)) {
		if err := answerError(ack); err != nil {
			return 0, err
		}
	}
	if _, after, ok := bytes.Cut(ack, []byte(`"seq":`)); ok {
		after = bytes.TrimLeft(after, " ")
		end := 0
		for end < len(after) && '0' <= after[end] && after[end] <= '9' {
			end++
		}
		if seq, err := strconv.ParseUint(string(after[:end]), 10, 64); err == nil {
			return seq, nil
		}
	}
	var answer struct {
		Seq uint64 `json:"seq"`
	}
	if err := json.Unmarshal(ack, &answer); err != nil || answer.Seq == 0 {
		return 0, fmt.Errorf("not an acknowledgement of JetStream: %.80q", ack)
	}
	return answer.Seq, nil
}
