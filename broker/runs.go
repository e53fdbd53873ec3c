package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// Runs holds the logs of runs.
type Runs struct {
	c *jetstream.Conn
	bodies
	keys   *signing.Keyring // verify records; nil = none
	signer                  // signs records of cells
}

// Append writes a record to a subject of the run, expecting expect to be that
// subject's last sequence, and returns the record's sequence. The subject
// follows from the record: Spec is on .spec, Claim and Outcome in the cell,
// Takeover, Grant, Expansion, LaneUnserved, Note and Rejected on .ctl, Cancel on
// .cancel, End on .end.
//
// Append retries an unanswered write, with the same expectation, until ctx ends. It
// returns ErrConflict for a refused write, also when its own first copy was
// stored: the caller reads. While the log of runs is full it waits, so that no
// result is lost; only the specification of a new run fails immediately with
// ErrFull.
func (r *Runs) Append(ctx context.Context, run jobs.RunID, cell jobs.ModuleID, expect uint64, rec jobs.Record) (uint64, error) {
	full := jetstream.WaitWhenFull
	if rec.Spec != nil {
		full = jetstream.FailWhenFull
	}
	m, err := r.recordMsg(ctx, run, cell, expect, &rec, full)
	if err != nil {
		return 0, err
	}
	seq, err := jetstream.RetryWhenFull(ctx, r.c, full, streams.Runs, func(ctx context.Context) (uint64, error) {
		seq, err := r.c.Store(ctx, m)
		if errors.Is(err, jetstream.ErrRacing) {
			return 0, r.decided(ctx, m.Subject, expect, err)
		}
		return seq, err
	})
	if err != nil {
		return 0, fmt.Errorf("write to %s: %w", m.Subject, err)
	}
	return seq, nil
}

// decided checks whether a concurrent write was stored.
func (r *Runs) decided(ctx context.Context, subject string, expect uint64, racing error) error {
	last, err := r.c.LastOnce(ctx, streams.Runs, subject)
	switch {
	case err == nil && last.Seq != expect:
		return fmt.Errorf("%w: %w", ErrConflict, racing)
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	}
	return racing
}

func (r *Runs) recordMsg(ctx context.Context, run jobs.RunID, cell jobs.ModuleID, expect uint64, rec *jobs.Record, full jetstream.FullPolicy) (*nats.Msg, error) {
	subject, err := topology.Record(run, cell, rec)
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
	m, err := r.pack(ctx, subject, body, full)
	if err != nil {
		return nil, err
	}
	if rec.Spec != nil {
		if err := addRunHeader(m, rec.Spec); err != nil {
			return nil, err
		}
	}
	sign(m, r.key(cell, rec))
	jetstream.ExpectLast(m, expect)
	return m, nil
}

// Last reads the newest record of a module's cell from the stream's leader. It
// returns ErrNotFound for an empty cell, and an entry with Unread for an
// unreadable record.
func (r *Runs) Last(ctx context.Context, run jobs.RunID, cell jobs.ModuleID) (jobs.Entry, error) {
	if !topology.ValidToken(string(cell)) {
		return jobs.Entry{}, fmt.Errorf("%q cannot name a module's cell", cell)
	}
	return r.lastEntry(ctx, topology.Cell(run, cell))
}

// LastCancel returns the run's newest cancellation (ErrNotFound), and an entry with
// Unread for an unreadable one.
func (r *Runs) LastCancel(ctx context.Context, run jobs.RunID) (jobs.Entry, error) {
	return r.lastEntry(ctx, topology.Run(run, topology.Cancel))
}

// LastEnd returns the run's end (ErrNotFound).
func (r *Runs) LastEnd(ctx context.Context, run jobs.RunID) (jobs.Entry, error) {
	return r.lastEntry(ctx, topology.Run(run, topology.End))
}

func (r *Runs) lastEntry(ctx context.Context, subject string) (jobs.Entry, error) {
	found, err := r.c.Last(ctx, streams.Runs, subject)
	if err != nil {
		return jobs.Entry{}, err
	}
	return r.entry(ctx, found, nil)
}

// Newest returns the sequence of the newest record of a run (ErrNotFound).
func (r *Runs) Newest(ctx context.Context, run jobs.RunID) (uint64, error) {
	m, err := r.c.Last(ctx, streams.Runs, topology.Records(run))
	return m.Seq, err
}

// Exists reports whether the run has been submitted. It reads no specification, so that
// workers may ask.
func (r *Runs) Exists(ctx context.Context, run jobs.RunID) (bool, error) {
	return r.named(ctx, topology.Run(run, topology.Spec))
}

// named reports whether the log of runs has a subject that a filter selects.
func (r *Runs) named(ctx context.Context, filter string) (bool, error) {
	subjects, err := r.c.Subjects(ctx, streams.Runs, filter)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return len(subjects) > 0, err
}

// OwnLast is Last for the worker of an attempt of the module, which may write to the
// cell. After ForAttempt the entry tells whether it is signed with the key of the attempt.
func (r *Runs) OwnLast(ctx context.Context, run jobs.RunID, cell jobs.ModuleID) (jobs.Entry, error) {
	if !topology.ValidToken(string(cell)) {
		return jobs.Entry{}, fmt.Errorf("%q cannot name a module's cell", cell)
	}
	found, err := r.c.NewestOwn(ctx, streams.Runs, topology.Cell(run, cell))
	if err != nil {
		return jobs.Entry{}, err
	}
	e, err := r.entry(ctx, found, nil)
	if err == nil && r.attempt != nil {
		e.Auth = authenticity(found.Msg, r.attempt)
	}
	return e, err
}

// Ended reports whether the run has an end record.
func (r *Runs) Ended(ctx context.Context, run jobs.RunID) (bool, error) {
	return r.named(ctx, topology.Run(run, topology.End))
}

// has reports whether a subject has a message.
func has(ctx context.Context, c *jetstream.Conn, stream, subject string) (bool, error) {
	_, err := c.Last(ctx, stream, subject)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Spec reads the specification of a run; the caller must not change it. It returns
// ErrNotFound when there is no such run, and DroppedError when only its end is
// left.
func (r *Runs) Spec(ctx context.Context, run jobs.RunID) (*jobs.Spec, error) {
	var e jobs.Entry
	m, err := r.c.First(ctx, streams.Runs, topology.Run(run, topology.Spec))
	if err == nil {
		e, err = r.entry(ctx, m, nil)
	}
	if errors.Is(err, ErrNotFound) {
		if dropped := r.Dropped(ctx, run); dropped != nil {
			err = dropped
		}
	}
	if err == nil {
		err = e.Unread
	}
	if err == nil && e.Record.Spec == nil {
		err = fmt.Errorf("%w: it contains no specification", jobs.ErrMalformed)
	}
	if err != nil {
		return nil, fmt.Errorf("read the specification of run %s: %w", run, err)
	}
	return e.Record.Spec, nil
}
