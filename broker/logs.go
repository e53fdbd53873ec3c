package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/inorder"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// Logs holds the output of modules.
type Logs struct {
	c *jetstream.Conn
	bodies
	keys   *signing.Keyring // verify chunks; nil = none
	signer signing.Key      // signs chunks; nil = they are not signed
}

// Append stores a chunk. It retries until the chunk is stored or ctx ends, also
// while the stream is full. A chunk that was sent twice is read once.
func (l *Logs) Append(ctx context.Context, run jobs.RunID, id jobs.AttemptID, chunk jobs.LogChunk) error {
	stored, err := l.Send(ctx, run, id, chunk)
	if err != nil {
		return err
	}
	return stored(ctx)
}

// Send sends a chunk and returns without waiting for the answer, so that a
// writer can send several. It waits while the window of the link is full. The
// returned function, which must be called, waits until the chunk is stored and
// retries as Append does.
func (l *Logs) Send(ctx context.Context, run jobs.RunID, id jobs.AttemptID, chunk jobs.LogChunk) (wait func(context.Context) error, err error) {
	if !topology.ValidToken(string(run)) || !topology.ValidToken(string(id.Module)) {
		return nil, fmt.Errorf("run %q, module %q: they must be tokens of a subject", run, id.Module)
	}
	body, err := jobs.Marshal(&chunk)
	if err != nil {
		return nil, err
	}
	subject := topology.Log(run, id)
	m, err := l.pack(ctx, subject, body, jetstream.WaitWhenFull)
	if err != nil {
		return nil, err
	}
	sign(m, l.signer)
	jetstream.SetHeader(m, nats.MsgIdHdr, chunkID(m, &chunk))
	first, err := l.c.StoreBulk(ctx, m)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, err := jetstream.RetryWhenFull(ctx, l.c, jetstream.WaitWhenFull, streams.Logs, func(ctx context.Context) (uint64, error) {
			if first == nil {
				if first, err = l.c.StoreBulk(ctx, m); err != nil {
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

// LogEntry is a chunk with its attempt.
type LogEntry struct {
	ID    jobs.AttemptID
	Chunk jobs.LogChunk
	// Unread is why the chunk cannot be read: a newer version has written it, or
	// it is malformed. Parts are empty then; Writer and Number are set if the id
	// of the message contains them.
	Unread error
}

// writer identifies the writer of a chunk: one delivery of an attempt's job.
type writer struct {
	id    jobs.AttemptID
	nonce string
}

type buffer = inorder.Buffer[writer, LogEntry]

func newBuffer(f func(LogEntry) error) *buffer { return inorder.New[writer](f) }

// Follow sends the chunks of all attempts of a run, from the first, live,
// until ctx ends (then it returns nil). Reconnects cause neither gaps nor repeats.
func (l *Logs) Follow(ctx context.Context, run jobs.RunID, out chan<- LogEntry) error {
	f := func(e LogEntry) error { return deliver(ctx, out, e) }
	o := newBuffer(f)
	src := jetstream.Source{Stream: streams.Logs, Bulk: true, Continues: true, Filters: []string{topology.Logs(run, "", 0)}, OnBeat: o.Beat}
	err := l.c.Feed(ctx, src, l.chunks(ctx, run, o, f))
	if err != nil {
		return fmt.Errorf("follow the output of run %s: %w", run, err)
	}
	return nil
}

// Read calls f with the stored chunks of a run (module "" = all modules,
// attempt 0 = all attempts) as they are now, in order.
func (l *Logs) Read(ctx context.Context, run jobs.RunID, module jobs.ModuleID, attempt jobs.Attempt, f func(LogEntry) error) error {
	src := jetstream.Source{Stream: streams.Logs, Bulk: true, Continues: true, Filters: []string{topology.Logs(run, module, attempt)}}
	o := newBuffer(f)
	err := l.c.ReadAll(ctx, src, l.chunks(ctx, run, o, f))
	if err == nil {
		err = o.Flush()
	}
	if err != nil {
		return fmt.Errorf("read the output of run %s: %w", run, err)
	}
	return nil
}

// chunks decodes chunks. It reports unreadable chunks once per attempt, and those that
// the worker of the attempt has not written, which it leaves out.
func (l *Logs) chunks(ctx context.Context, run jobs.RunID, o *buffer, f func(LogEntry) error) func(jetstream.Message) error {
	var v *verifier
	return func(m jetstream.Message) (err error) {
		id, ok := topology.ParseLog(m.Subject)
		if !ok {
			l.c.WarnOnce(m.Subject, "skipped output: its subject names no attempt", "subject", jobs.Clip(m.Subject, mostQuoted))
			return nil
		}
		if l.keys != nil && (v == nil || !v.taken) { // output begins after the first takeover
			if v, err = l.verifier(ctx, run); err != nil {
				return fmt.Errorf("find the signing key of run %s: %w", run, err)
			}
		}
		if v.forgedChunk(m.Msg, id) {
			l.c.WarnOnce("forged "+m.Subject, "skipped output that the worker of the attempt has not written", "module", id.Module, "attempt", id.Attempt)
			return nil
		}
		e := LogEntry{ID: id}
		if e.Chunk, err = l.chunk(ctx, m); unreadable(err) {
			l.c.WarnOnce(m.Subject, "skipped unreadable output", "module", id.Module, "attempt", id.Attempt, "error", err)
			e.Unread, err = err, nil
		}
		switch {
		case err != nil:
			return fmt.Errorf("read %s at %d: %w", m.Subject, m.Seq, err)
		case e.Unread != nil && e.Chunk.Number == 0: // its place among the others is not known
			return f(e)
		}
		return o.Add(writer{id, e.Chunk.Writer}, e.Chunk.Number, e)
	}
}

// chunk decodes a chunk. For an unreadable one it returns the writer and the number
// in the id of the message.
func (l *Logs) chunk(ctx context.Context, m jetstream.Message) (jobs.LogChunk, error) {
	body, err := l.unpack(ctx, m.Msg, jobs.MaxSmall)
	if err == nil {
		var chunk jobs.LogChunk
		if chunk, err = jobs.Unmarshal[jobs.LogChunk](body); err == nil {
			return chunk, nil
		}
	}
	return signed(m.Msg), err
}

// verifier returns a verifier for the chunks of a run.
func (l *Logs) verifier(ctx context.Context, run jobs.RunID) (*verifier, error) {
	v, err := (&Runs{c: l.c, bodies: l.bodies, keys: l.keys}).verifierAfter(ctx, run, 1)
	if errors.Is(err, ErrDenied) { // this reader may read output, and no records
		return &verifier{taken: true}, nil
	}
	return v, err
}

// forgedChunk reports whether a chunk was not written by the worker of its attempt. A
// reader without the key of the run cannot tell.
func (v *verifier) forgedChunk(m *nats.Msg, id jobs.AttemptID) bool {
	switch {
	case v == nil || v.taken && v.key == nil:
		return false
	case !v.taken:
		return true
	}
	return !verifies(m, signing.AttemptKey(v.key, id.Module, id.Attempt))
}

// chunkID identifies a chunk, so that the server stores it once. The code of a signed
// chunk is a part of it: another program, which cannot know that code, cannot send
// something under the id before the chunk is sent.
func chunkID(m *nats.Msg, chunk *jobs.LogChunk) string {
	id := m.Subject + "." + chunk.Writer + "." + strconv.Itoa(chunk.Number)
	if code := m.Header.Get(headerAuth); code != "" {
		id += "." + code
	}
	return id
}

// signed returns the writer and the number in the id of a chunk.
func signed(m *nats.Msg) jobs.LogChunk {
	rest, ok := strings.CutPrefix(m.Header.Get(nats.MsgIdHdr), m.Subject+".")
	nonce, number, _ := strings.Cut(rest, ".")
	number, _, _ = strings.Cut(number, ".")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 1 {
		return jobs.LogChunk{}
	}
	return jobs.LogChunk{Writer: nonce, Number: n}
}
