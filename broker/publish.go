package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
)

const headerExpected = "Nats-Expected-Last-Subject-Sequence"

// expectLast makes m a compare-and-set on its subject's last sequence.
func expectLast(m *nats.Msg, seq uint64) { set(m, headerExpected, strconv.FormatUint(seq, 10)) }

// store publishes m to its stream and waits for the acknowledgement, once.
func (c *Conn) store(ctx context.Context, m *nats.Msg) (uint64, error) {
	if err := c.pinned(ctx); err != nil {
		return 0, err
	}
	answer, err := c.calls.ask(ctx, m)
	if err != nil {
		return 0, err
	}
	return stored(answer.Data)
}

// storeAsync publishes m and calls done once, from another goroutine. It waits for
// a place in the window, and sends in the order of the calls.
func (c *Conn) storeAsync(ctx context.Context, m *nats.Msg, done func(uint64, error)) {
	select {
	case c.window <- struct{}{}:
	case <-ctx.Done():
		c.after.push(func() { done(0, context.Cause(ctx)) })
		return
	}
	if err := c.pinned(ctx); err != nil {
		<-c.window
		c.after.push(func() { done(0, err) })
		return
	}
	c.calls.send(m, func(answer *nats.Msg, err error) {
		<-c.window
		c.after.push(func() {
			if err != nil {
				done(0, c.closedMeans(err))
				return
			}
			done(stored(answer.Data))
		})
	})
}

// stored reads the acknowledgement of a publish.
func stored(ack []byte) (uint64, error) {
	if bytes.Contains(ack, []byte(`"error"`)) {
		if err := apiError(ack); err != nil {
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
