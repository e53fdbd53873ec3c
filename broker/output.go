package broker

import (
	"context"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/jobs"
)

// AppendLog stores a chunk, repeating until it is stored or ctx ends, also
// where there is no room for it; a
// repeated chunk is stored once, or read once.
func (c *Conn) AppendLog(ctx context.Context, run jobs.RunID, key jobs.Key, chunk jobs.LogChunk) error {
	stored, err := c.SendLog(ctx, run, key, chunk)
	if err != nil {
		return err
	}
	return stored(ctx)
}

// SendLog sends a chunk and returns without the answer, so that several can be
// on their way; it waits while the link has enough to carry. The returned
// function waits until the chunk is stored, sending it again as AppendLog does.
// It must be called.
func (c *Conn) SendLog(ctx context.Context, run jobs.RunID, key jobs.Key, chunk jobs.LogChunk) (wait func(context.Context) error, err error) {
	if !validToken(string(run)) || !validToken(string(key.Token)) {
		return nil, fmt.Errorf("run %q, module %q: they must be tokens of a subject", run, key.Token)
	}
	body, err := jobs.Marshal(&chunk)
	if err != nil {
		return nil, err
	}
	subject := c.names.log(run, key)
	m, err := c.pack(ctx, subject, body, waits)
	if err != nil {
		return nil, err
	}
	set(m, nats.MsgIdHdr, subject+"."+chunk.Writer+"."+strconv.Itoa(chunk.Number))
	first, err := c.sendSoon(ctx, m)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, err := keep(ctx, c, waits, c.names.logsStream(), func(ctx context.Context) (uint64, error) {
			if first == nil {
				if first, err = c.sendSoon(ctx, m); err != nil {
					return 0, err
				}
			}
			select {
			case err := <-first:
				first = nil
				return 0, err
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			}
		})
		if err != nil {
			return fmt.Errorf("write to %s: %w", subject, err)
		}
		return nil
	}, nil
}

// sendSoon sends when the link has room, and returns where the answer arrives.
func (c *Conn) sendSoon(ctx context.Context, m *nats.Msg) (<-chan error, error) {
	if err := c.pinned(ctx); err != nil {
		return nil, err
	}
	d := c.carrier(ctx)
	parcel, err := d.flow.begin(ctx, m.Size())
	if err != nil {
		return nil, err
	}
	answered := make(chan error, 1)                                        // so that the call never blocks
	again := &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data} // a call sets the reply
	d.calls.send(again, func(answer *nats.Msg, err error) {
		d.flow.end(parcel, err == nil)
		if err == nil {
			_, err = stored(answer.Data)
		}
		answered <- err
	})
	return answered, nil
}

// LogEntry is a chunk with its place.
type LogEntry struct {
	Key   jobs.Key
	Chunk jobs.LogChunk
}

// FollowLogs sends the chunks of all attempts of a run, from the first, live,
// until ctx ends (then it returns nil). Over reconnects, no gaps, no repeats.
func (c *Conn) FollowLogs(ctx context.Context, run jobs.RunID, out chan<- LogEntry) error {
	o := newOrdered(func(e LogEntry) error { return deliver(ctx, out, e) })
	src := source{stream: c.names.logsStream(), bulk: true, filters: []string{c.names.logs(run, "", 0)}, beaten: o.beat}
	err := c.feed(ctx, src, c.chunks(ctx, o))
	if err != nil {
		return fmt.Errorf("follow the output of run %s: %w", run, err)
	}
	return nil
}

// ReadLogs calls f with the stored chunks of a run (token "" = all modules,
// attempt 0 = all attempts) as they are now, in order.
func (c *Conn) ReadLogs(ctx context.Context, run jobs.RunID, token jobs.Token, attempt jobs.Attempt, f func(LogEntry) error) error {
	src := source{stream: c.names.logsStream(), bulk: true, filters: []string{c.names.logs(run, token, attempt)}}
	o := newOrdered(f)
	err := c.readAll(ctx, src, c.chunks(ctx, o))
	if err == nil {
		err = o.flush()
	}
	if err != nil {
		return fmt.Errorf("read the output of run %s: %w", run, err)
	}
	return nil
}

// chunks decodes chunks.
func (c *Conn) chunks(ctx context.Context, o *ordered) func(located) error {
	return func(l located) error {
		key, ok := c.names.parseLog(l.msg.Subject)
		if !ok {
			return fmt.Errorf("%s is no subject of output", l.msg.Subject)
		}
		body, err := c.unpack(ctx, l.msg)
		if err != nil {
			return fmt.Errorf("read %s at %d: %w", l.msg.Subject, l.seq, err)
		}
		chunk, err := jobs.Unmarshal[jobs.LogChunk](body)
		if err != nil {
			return fmt.Errorf("read %s at %d: %w", l.msg.Subject, l.seq, err)
		}
		return o.add(writer{key, chunk.Writer}, LogEntry{key, chunk})
	}
}
