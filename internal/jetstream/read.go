package jetstream

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Message is a message with its place in its stream.
type Message struct {
	*nats.Msg
	Seq  uint64
	Time time.Time // by the server's clock
}

// Last reads the newest message of a subject from the stream's leader, or returns
// ErrNotFound.
func (c *Conn) Last(ctx context.Context, stream, subject string) (Message, error) {
	m, err := retry(ctx, c, func(ctx context.Context) (Message, error) { return c.LastOnce(ctx, stream, subject) })
	if err != nil {
		return Message{}, fmt.Errorf("read the last of %s: %w", subject, err)
	}
	return m, nil
}

// LastOnce is Last without retries.
func (c *Conn) LastOnce(ctx context.Context, stream, subject string) (Message, error) {
	return c.get(ctx, stream, map[string]any{"last_by_subj": subject})
}

// First reads the first message of a subject from the stream's leader, or returns
// ErrNotFound.
func (c *Conn) First(ctx context.Context, stream, subject string) (Message, error) {
	m, err := retry(ctx, c, func(ctx context.Context) (Message, error) {
		return c.get(ctx, stream, map[string]any{"seq": 1, "next_by_subj": subject})
	})
	if err != nil {
		return Message{}, fmt.Errorf("read the first of %s: %w", subject, err)
	}
	return m, nil
}

// messageAt reads the message of a sequence.
func (c *Conn) messageAt(ctx context.Context, stream string, seq uint64) (Message, error) {
	return c.get(ctx, stream, map[string]any{"seq": seq})
}

// get reads the message that a query of the JetStream API names.
func (c *Conn) get(ctx context.Context, stream string, query map[string]any) (Message, error) {
	body, err := json.Marshal(query)
	if err != nil {
		return Message{}, err
	}
	m, err := c.APIOnce(ctx, "STREAM.MSG.GET."+stream, body)
	if err != nil {
		return Message{}, err
	}
	return parseGet(m.Data)
}

// parseGet decodes the answer to a get.
func parseGet(data []byte) (Message, error) {
	var answer struct {
		Message struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  string    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return Message{}, fmt.Errorf("read a stored message: %w", err)
	}
	m := &nats.Msg{Subject: answer.Message.Subject, Data: answer.Message.Data}
	if answer.Message.Header != "" {
		raw, err := base64.StdEncoding.DecodeString(answer.Message.Header)
		if err != nil {
			return Message{}, fmt.Errorf("read a stored message's header: %w", err)
		}
		if m.Header, err = nats.DecodeHeadersMsg(raw); err != nil {
			return Message{}, fmt.Errorf("read a stored message's header: %w", err)
		}
	}
	return Message{m, answer.Message.Seq, answer.Message.Time.UTC()}, nil
}
