package broker

import (
	"context"
	"fmt"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/jobs"
)

// entry decodes a record. An unreadable record is an entry with Unread where others than
// orchestrators write: any worker can write to cells, and any user can submit and
// cancel. v judges records of cells; nil = nothing is known of who wrote them.
func (r *Runs) entry(ctx context.Context, m jetstream.Message, v *verifier) (jobs.Entry, error) {
	_, cell, kind, ok := topology.ParseRun(m.Subject)
	if !ok {
		return jobs.Entry{}, fmt.Errorf("%s is no subject of a run", m.Subject)
	}
	e := jobs.Entry{Sequence: m.Seq, Time: m.Time, Cell: cell}
	rec, err := r.record(ctx, m)
	if err != nil {
		err = fmt.Errorf("read %s at %d: %w", m.Subject, m.Seq, err)
	}
	switch {
	case err == nil:
		e.Record = rec
		if cell != "" {
			e.Auth = v.judge(m.Msg, cell, &rec)
		} else if rec.Takeover != nil {
			v.takeover(rec.Takeover.Key)
		}
	case unreadable(err) && (cell != "" || kind == topology.Spec || kind == topology.Cancel):
		e.Unread, e.Cancels = err, kind == topology.Cancel
	default:
		return jobs.Entry{}, err
	}
	return e, nil
}

// record reads a record and checks that it belongs on its subject. It returns
// jobs.ErrMalformed, jobs.ErrNewer or ErrTooLarge.
func (r *Runs) record(ctx context.Context, m jetstream.Message) (jobs.Record, error) {
	run, cell, kind, _ := topology.ParseRun(m.Subject)
	most := jobs.MaxSmall
	if kind == topology.Spec || kind == topology.Control {
		most = jobs.MaxMessage
	}
	body, err := r.unpack(ctx, m.Msg, most)
	if err != nil {
		return jobs.Record{}, incomplete(err)
	}
	rec, err := jobs.UnmarshalRecord(body, most)
	if err != nil {
		return jobs.Record{}, err
	}
	switch subject, err := topology.Record(run, cell, &rec); {
	case err != nil:
		return jobs.Record{}, fmt.Errorf("%w: %w", jobs.ErrMalformed, err)
	case subject != m.Subject:
		return jobs.Record{}, fmt.Errorf("%w: its record belongs on %s", jobs.ErrMalformed, subject)
	case rec.Spec != nil && rec.Spec.Run != run:
		return jobs.Record{}, fmt.Errorf("%w: it specifies another run, %q", jobs.ErrMalformed, jobs.Clip(string(rec.Spec.Run), mostQuoted))
	}
	return rec, nil
}
