package broker

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/jobs"
)

// AppendLog stores a chunk. It retries until the chunk is stored or ctx ends, also
// while the stream is full. A chunk that was sent twice is read once.
func (c *Conn) AppendLog(ctx context.Context, run jobs.RunID, id jobs.AttemptID, chunk jobs.LogChunk) error {
	stored, err := c.SendLog(ctx, run, id, chunk)
	if err != nil {
		return err
	}
	return stored(ctx)
}

// SendLog sends a chunk and returns without waiting for the answer, so that a
// writer can send several. It waits while the window of the link is full. The
// returned function, which must be called, waits until the chunk is stored and
// retries as AppendLog does.
func (c *Conn) SendLog(ctx context.Context, run jobs.RunID, id jobs.AttemptID, chunk jobs.LogChunk) (wait func(context.Context) error, err error) {
	if !validToken(string(run)) || !validToken(string(id.Module)) {
		return nil, fmt.Errorf("run %q, module %q: they must be tokens of a subject", run, id.Module)
	}
	body, err := jobs.Marshal(&chunk)
	if err != nil {
		return nil, err
	}
	subject := c.names.log(run, id)
	m, err := c.pack(ctx, subject, body, waits)
	if err != nil {
		return nil, err
	}
	set(m, nats.MsgIdHdr, chunkID(subject, &chunk))
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

// sendSoon sends when the window has room, and returns a channel for the answer.
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

// LogEntry is a chunk with its attempt.
type LogEntry struct {
	ID    jobs.AttemptID
	Chunk jobs.LogChunk
	// Unread is why the chunk cannot be read: a newer version has written it, or
	// it is malformed. Parts are empty then; Writer and Number are set if the id
	// of the message contains them.
	Unread error
}

// FollowLogs sends the chunks of all attempts of a run, from the first, live,
// until ctx ends (then it returns nil). Reconnects cause neither gaps nor repeats.
func (c *Conn) FollowLogs(ctx context.Context, run jobs.RunID, out chan<- LogEntry) error {
	o := newOrdered(func(e LogEntry) error { return deliver(ctx, out, e) })
	src := source{stream: c.names.logsStream(), bulk: true, keeps: true, filters: []string{c.names.logs(run, "", 0)}, beaten: o.beat}
	err := c.feed(ctx, src, c.chunks(ctx, o))
	if err != nil {
		return fmt.Errorf("follow the output of run %s: %w", run, err)
	}
	return nil
}

// ReadLogs calls f with the stored chunks of a run (token "" = all modules,
// attempt 0 = all attempts) as they are now, in order.
func (c *Conn) ReadLogs(ctx context.Context, run jobs.RunID, moduleID jobs.ModuleID, attempt jobs.Attempt, f func(LogEntry) error) error {
	src := source{stream: c.names.logsStream(), bulk: true, keeps: true, filters: []string{c.names.logs(run, moduleID, attempt)}}
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

// chunks decodes chunks. It reports unreadable chunks once per attempt.
func (c *Conn) chunks(ctx context.Context, o *ordered) func(located) error {
	return func(l located) error {
		id, ok := c.names.parseLog(l.msg.Subject)
		if !ok {
			c.warnOnce(l.msg.Subject, "skipped output: its subject names no attempt", "subject", clip(l.msg.Subject))
			return nil
		}
		e := LogEntry{ID: id}
		var err error
		if e.Chunk, err = c.chunk(ctx, l); unreadable(err) {
			c.warnOnce(l.msg.Subject, "skipped output that cannot be read", "module", id.Module, "attempt", id.Attempt, "error", err)
			e.Unread, err = err, nil
		}
		switch {
		case err != nil:
			return fmt.Errorf("read %s at %d: %w", l.msg.Subject, l.seq, err)
		case e.Unread != nil && e.Chunk.Number == 0: // its place among the others is not known
			return o.f(e)
		}
		return o.add(writer{id, e.Chunk.Writer}, e)
	}
}

// chunk decodes a chunk. For an unreadable one it returns the writer and the number
// in the id of the message.
func (c *Conn) chunk(ctx context.Context, l located) (jobs.LogChunk, error) {
	body, err := c.unpack(ctx, l.msg, jobs.MaxSmall)
	if err == nil {
		var chunk jobs.LogChunk
		if chunk, err = jobs.Unmarshal[jobs.LogChunk](body); err == nil {
			return chunk, nil
		}
	}
	return signed(l.msg), err
}

// chunkID identifies a chunk, so that the server stores it once.
func chunkID(subject string, chunk *jobs.LogChunk) string {
	return subject + "." + chunk.Writer + "." + strconv.Itoa(chunk.Number)
}

// signed returns the writer and the number in the id of a chunk.
func signed(m *nats.Msg) jobs.LogChunk {
	rest, ok := strings.CutPrefix(m.Header.Get(nats.MsgIdHdr), m.Subject+".")
	nonce, number, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 1 {
		return jobs.LogChunk{}
	}
	return jobs.LogChunk{Writer: nonce, Number: n}
}
