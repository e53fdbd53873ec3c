package broker

import (
	"context"
	"fmt"
	"strconv"

	"github.com/modpipe/modpipe/jobs"
)

// AppendLog stores a chunk, repeating until it is stored or ctx ends, also
// where there is no room for it; a
// repeated chunk is stored once, or read once.
func (c *Conn) AppendLog(ctx context.Context, run jobs.RunID, key jobs.Key, chunk jobs.LogChunk) error {
	if !validToken(string(run)) || !validToken(string(key.Token)) {
		return fmt.Errorf("run %q, module %q: they must be tokens of a subject", run, key.Token)
	}
	body, err := jobs.Marshal(&chunk)
	if err != nil {
		return err
	}
	subject := c.names.log(run, key)
	m, err := c.pack(ctx, subject, body, waits)
	if err != nil {
		return err
	}
	set(m, "Nats-Msg-Id", subject+"."+chunk.Writer+"."+strconv.Itoa(chunk.Number))
	if _, err := keep(ctx, c, waits, c.names.logsStream(), func(ctx context.Context) (uint64, error) { return c.store(ctx, m) }); err != nil {
		return fmt.Errorf("write to %s: %w", subject, err)
	}
	return nil
}

// LogEntry is a chunk with its place.
type LogEntry struct {
	Key   jobs.Key
	Chunk jobs.LogChunk
}

// FollowLogs sends the chunks of all attempts of a run, from the first, live,
// until ctx ends (then it returns nil). Over reconnects, no gaps, no repeats.
func (c *Conn) FollowLogs(ctx context.Context, run jobs.RunID, out chan<- LogEntry) error {
	src := source{stream: c.names.logsStream(), filters: []string{c.names.logs(run, "", 0)}}
	err := c.feed(ctx, src, c.chunks(ctx, func(e LogEntry) error { return deliver(ctx, out, e) }))
	if err != nil {
		return fmt.Errorf("follow the output of run %s: %w", run, err)
	}
	return nil
}

// ReadLogs calls f with the stored chunks of a run (token "" = all modules,
// attempt 0 = all attempts) as they are now, in order.
func (c *Conn) ReadLogs(ctx context.Context, run jobs.RunID, token jobs.Token, attempt jobs.Attempt, f func(LogEntry) error) error {
	src := source{stream: c.names.logsStream(), filters: []string{c.names.logs(run, token, attempt)}}
	if err := c.readAll(ctx, src, c.chunks(ctx, f)); err != nil {
		return fmt.Errorf("read the output of run %s: %w", run, err)
	}
	return nil
}

// writer is who has written a chunk: one delivery of an attempt's job.
type writer struct {
	key   jobs.Key
	nonce string
}

// chunks decodes chunks and drops what was stored twice: the numbers of each
// writer grow.
func (c *Conn) chunks(ctx context.Context, f func(LogEntry) error) func(located) error {
	newest := map[writer]int{}
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
		from := writer{key, chunk.Writer}
		if chunk.Number <= newest[from] {
			return nil
		}
		if err := f(LogEntry{key, chunk}); err != nil {
			return err
		}
		newest[from] = chunk.Number
		return nil
	}
}
