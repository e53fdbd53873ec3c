package broker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/jobs"
)

// Append writes a record to a subject of the run, expecting expect to be that
// subject's last sequence, and returns the record's sequence. The subject
// follows from the record: Spec is on .spec, Claim and Outcome in the cell,
// Takeover, Grant, Expansion and Nobody on .ctl, Cancel on .cancel, End on
// .end.
//
// Append retries an unanswered write, with the same expectation, until ctx ends. It
// returns ErrConflict for a refused write, also when its own first copy was
// stored: the caller reads. While the log of runs is full it waits, so that no
// result is lost; only the specification of a new run fails immediately with
// ErrFull.
func (c *Conn) Append(ctx context.Context, run jobs.RunID, cell jobs.ModuleID, expect uint64, rec jobs.Record) (uint64, error) {
	full := waits
	if rec.Spec != nil {
		full = fails
	}
	m, err := c.recordMsg(ctx, run, cell, expect, &rec, full)
	if err != nil {
		return 0, err
	}
	seq, err := keep(ctx, c, full, c.names.runsStream(), func(ctx context.Context) (uint64, error) {
		seq, err := c.store(ctx, m)
		if errors.Is(err, errRacing) {
			return 0, c.decided(ctx, m.Subject, expect, err)
		}
		return seq, err
	})
	if err != nil {
		return 0, fmt.Errorf("write to %s: %w", m.Subject, err)
	}
	return seq, nil
}

// decided checks whether a concurrent write was stored.
func (c *Conn) decided(ctx context.Context, subject string, expect uint64, racing error) error {
	last, err := c.lastOnce(ctx, c.names.runsStream(), subject)
	switch {
	case err == nil && last.seq != expect:
		return fmt.Errorf("%w: %w", ErrConflict, racing)
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	}
	return racing
}

// AppendAsync sends immediately, in the order of the calls, and calls done once
// from another goroutine when the write is answered or has failed. It does not
// retry. It blocks while too many writes are unanswered.
func (c *Conn) AppendAsync(ctx context.Context, run jobs.RunID, cell jobs.ModuleID, expect uint64, rec jobs.Record, done func(uint64, error)) {
	m, err := c.recordMsg(ctx, run, cell, expect, &rec, waits)
	if err != nil {
		c.after.push(func() { done(0, err) })
		return
	}
	c.storeAsync(ctx, m, func(seq uint64, err error) {
		if errors.Is(err, errRacing) {
			err = fmt.Errorf("%w: %w", ErrConflict, err)
		}
		if err != nil {
			err = fmt.Errorf("write to %s: %w", m.Subject, err)
		}
		done(seq, err)
	})
}

func (c *Conn) recordMsg(ctx context.Context, run jobs.RunID, cell jobs.ModuleID, expect uint64, rec *jobs.Record, full whenFull) (*nats.Msg, error) {
	subject, err := c.names.record(run, cell, rec)
	if err != nil {
		return nil, err
	}
	body, err := jobs.Marshal(rec)
	if errors.Is(err, ErrTooLarge) {
		short := rec.Shortened()
		body, err = jobs.Marshal(&short)
	}
	if err != nil {
		return nil, err
	}
	m, err := c.pack(ctx, subject, body, full)
	if err != nil {
		return nil, err
	}
	expectLast(m, expect)
	return m, nil
}

// Last reads the newest record of a module's cell from the stream's leader. It
// returns ErrNotFound when there is none, and an entry with Unread for an
// unreadable record.
func (c *Conn) Last(ctx context.Context, run jobs.RunID, cell jobs.ModuleID) (jobs.Entry, error) {
	if !validToken(string(cell)) {
		return jobs.Entry{}, fmt.Errorf("%q cannot name a module's cell", cell)
	}
	return c.lastEntry(ctx, c.names.cell(run, cell))
}

// LastCancel returns the run's newest cancellation (ErrNotFound), and an entry with
// Unread for an unreadable one.
func (c *Conn) LastCancel(ctx context.Context, run jobs.RunID) (jobs.Entry, error) {
	return c.lastEntry(ctx, c.names.run(run, "cancel"))
}

// LastEnd returns the run's end (ErrNotFound).
func (c *Conn) LastEnd(ctx context.Context, run jobs.RunID) (jobs.Entry, error) {
	return c.lastEntry(ctx, c.names.run(run, "end"))
}

// Newest returns the sequence of the newest record of a run (ErrNotFound).
func (c *Conn) Newest(ctx context.Context, run jobs.RunID) (uint64, error) {
	l, err := c.last(ctx, c.names.runsStream(), c.names.runAll(run))
	return l.seq, err
}

// DropCommand returns the command that removes a run from NATS, even if its log is
// unreadable.
func (c *Conn) DropCommand(run jobs.RunID) string {
	return fmt.Sprintf("nats stream purge %s --subject='%s'", c.names.runsStream(), c.names.runAll(run))
}

// Exists reports whether the run has been submitted.
func (c *Conn) Exists(ctx context.Context, run jobs.RunID) (bool, error) {
	return c.has(ctx, run, "spec")
}

// Ended reports whether the run has an end record.
func (c *Conn) Ended(ctx context.Context, run jobs.RunID) (bool, error) {
	return c.has(ctx, run, "end")
}

func (c *Conn) has(ctx context.Context, run jobs.RunID, kind string) (bool, error) {
	_, err := c.last(ctx, c.names.runsStream(), c.names.run(run, kind))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// firstEntry reads the first record of a subject.
func (c *Conn) firstEntry(ctx context.Context, subject string) (jobs.Entry, error) {
	found, err := retry(ctx, c, func(ctx context.Context) (located, error) {
		return c.stored(ctx, c.names.runsStream(), map[string]any{"seq": 1, "next_by_subj": subject})
	})
	if err != nil {
		return jobs.Entry{}, fmt.Errorf("read the first of %s: %w", subject, err)
	}
	return c.entry(ctx, found)
}

func (c *Conn) lastEntry(ctx context.Context, subject string) (jobs.Entry, error) {
	found, err := c.last(ctx, c.names.runsStream(), subject)
	if err != nil {
		return jobs.Entry{}, err
	}
	return c.entry(ctx, found)
}

// located is a message with its place in its stream.
type located struct {
	msg  *nats.Msg
	seq  uint64
	time time.Time
}

// entry decodes a record. The caller must not change a specification, which other
// readers share. An unreadable record is an entry with Unread where others than
// orchestrators write: any worker can write to cells, and any user can submit and
// cancel.
func (c *Conn) entry(ctx context.Context, l located) (jobs.Entry, error) {
	run, cell, ok := c.names.parseRun(l.msg.Subject)
	if !ok {
		return jobs.Entry{}, fmt.Errorf("%s is no subject of a run", l.msg.Subject)
	}
	kind := strings.TrimPrefix(l.msg.Subject, c.names.run(run, ""))
	read := c.record
	if kind == "spec" {
		read = c.spec
	}
	e := jobs.Entry{Sequence: l.seq, Time: l.time, Cell: cell}
	rec, err := read(ctx, l)
	if err != nil {
		err = fmt.Errorf("read %s at %d: %w", l.msg.Subject, l.seq, err)
	}
	switch {
	case err == nil:
		e.Record = rec
	case unreadable(err) && (cell != "" || kind == "spec" || kind == "cancel"):
		e.Unread, e.Cancels = err, kind == "cancel"
	default:
		return jobs.Entry{}, err
	}
	return e, nil
}

// record reads a record and checks that it belongs on its subject. It returns
// jobs.ErrMalformed, jobs.ErrNewer or ErrTooLarge.
func (c *Conn) record(ctx context.Context, l located) (jobs.Record, error) {
	run, cell, _ := c.names.parseRun(l.msg.Subject)
	most := jobs.MaxSmall
	if kind := strings.TrimPrefix(l.msg.Subject, c.names.run(run, "")); kind == "spec" || kind == "ctl" {
		most = jobs.MaxMessage
	}
	body, err := c.unpack(ctx, l.msg, most)
	if errors.Is(err, ErrNotFound) { // ErrNotFound would mean that the run does not exist
		err = fmt.Errorf("%w: what it refers to is gone: %v", jobs.ErrMalformed, err) //nolint:errorlint // see above
	}
	if err != nil {
		return jobs.Record{}, err
	}
	rec, err := jobs.UnmarshalRecord(body, most)
	if err != nil {
		return jobs.Record{}, err
	}
	switch subject, err := c.names.record(run, cell, &rec); {
	case err != nil:
		return jobs.Record{}, fmt.Errorf("%w: %w", jobs.ErrMalformed, err)
	case subject != l.msg.Subject:
		return jobs.Record{}, fmt.Errorf("%w: its record belongs on %s", jobs.ErrMalformed, subject)
	case rec.Spec != nil && rec.Spec.Run != run:
		return jobs.Record{}, fmt.Errorf("%w: it specifies another run, %q", jobs.ErrMalformed, clip(string(rec.Spec.Run)))
	}
	return rec, nil
}

// last reads the newest message of a subject from the stream's leader.
func (c *Conn) last(ctx context.Context, stream, subject string) (located, error) {
	l, err := retry(ctx, c, func(ctx context.Context) (located, error) { return c.lastOnce(ctx, stream, subject) })
	if err != nil {
		return located{}, fmt.Errorf("read the last of %s: %w", subject, err)
	}
	return l, nil
}

func (c *Conn) lastOnce(ctx context.Context, stream, subject string) (located, error) {
	return c.stored(ctx, stream, map[string]any{"last_by_subj": subject})
}

// messageAt reads the message of a sequence.
func (c *Conn) messageAt(ctx context.Context, stream string, seq uint64) (located, error) {
	return c.stored(ctx, stream, map[string]any{"seq": seq})
}

// stored reads the message that a query of the JetStream API names.
func (c *Conn) stored(ctx context.Context, stream string, query map[string]any) (located, error) {
	body, err := json.Marshal(query)
	if err != nil {
		return located{}, err
	}
	m, err := c.apiOnce(ctx, "STREAM.MSG.GET."+stream, body)
	if err != nil {
		return located{}, err
	}
	return readStored(m.Data)
}

// readStored reads the answer to a get.
func readStored(data []byte) (located, error) {
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
		return located{}, fmt.Errorf("read a stored message: %w", err)
	}
	m := &nats.Msg{Subject: answer.Message.Subject, Data: answer.Message.Data}
	if answer.Message.Header != "" {
		raw, err := base64.StdEncoding.DecodeString(answer.Message.Header)
		if err != nil {
			return located{}, fmt.Errorf("read a stored message's header: %w", err)
		}
		if m.Header, err = nats.DecodeHeadersMsg(raw); err != nil {
			return located{}, fmt.Errorf("read a stored message's header: %w", err)
		}
	}
	return located{m, answer.Message.Seq, answer.Message.Time.UTC()}, nil
}

// ReadLog reads the present log of a run, in order. It returns ErrNotFound when
// there is no such run, and DroppedError when only its end is left. It asks the
// stream's leader for the last sequence, because the replica that sends the
// records may be behind and lack the newest records and runs.
func (c *Conn) ReadLog(ctx context.Context, run jobs.RunID) ([]jobs.Entry, error) {
	for backoff := newBackOff(); ; {
		newest, err := c.last(ctx, c.names.runsStream(), c.names.runAll(run))
		var log []jobs.Entry
		if err == nil {
			log, err = c.readEntries(ctx, run)
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("read the log of run %s: %w", run, err)
		case len(log) > 0 && log[len(log)-1].Sequence >= newest.seq:
			return log, droppedIn(run, log)
		case pause.For(ctx, backoff.NextBackOff()) != nil:
			return nil, fmt.Errorf("read the log of run %s: %w", run, context.Cause(ctx))
		}
	}
}

// readEntries reads the part of a run's log that the sending replica has.
func (c *Conn) readEntries(ctx context.Context, run jobs.RunID) (log []jobs.Entry, err error) {
	src := source{stream: c.names.runsStream(), filters: []string{c.names.runAll(run)}, begun: func() error {
		log = nil
		return nil
	}}
	err = c.readAll(ctx, src, func(l located) error {
		e, err := c.entry(ctx, l)
		if len(log) == 0 && err == nil && e.Cell == "" {
			err = e.Unread // without its specification nothing of the log can be read
		}
		log = append(log, e)
		return err
	})
	return log, err
}

// Follow sends every record of the run after the given sequence to out, in
// order, without gaps or repeats, until ctx ends (then it returns nil). A slow
// receiver slows the server and takes no memory. After a reconnect, and when the
// stream of runs was recreated, it returns ErrReconnected: the caller folds from
// the start. It fails otherwise only for permanent errors: a denied permission, or
// an unreadable record.
func (c *Conn) Follow(ctx context.Context, run jobs.RunID, after uint64, out chan<- jobs.Entry) error {
	begun := false
	src := source{stream: c.names.runsStream(), filters: []string{c.names.runAll(run)}, after: after, begun: func() error {
		if begun {
			return ErrReconnected
		}
		begun = true
		return nil
	}}
	err := c.feed(ctx, src, func(l located) error {
		e, err := c.entry(ctx, l)
		if err != nil {
			return err
		}
		return deliver(ctx, out, e)
	})
	if err != nil {
		return fmt.Errorf("follow run %s: %w", run, err)
	}
	return nil
}

// deliver sends v unless ctx ends first.
func deliver[T any](ctx context.Context, out chan<- T, v T) error {
	select {
	case out <- v:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
