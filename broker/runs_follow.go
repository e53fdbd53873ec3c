package broker

import (
	"context"
	"fmt"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// Read reads the present log of a run, in order. It returns ErrNotFound when
// there is no such run, and DroppedError when only its end is left. It asks the
// stream's leader for the last sequence, because the replica that sends the
// records may be behind and lack the newest records and runs.
func (r *Runs) Read(ctx context.Context, run jobs.RunID) ([]jobs.Entry, error) {
	for backoff := pause.NewBackOff(); ; {
		newest, err := r.Newest(ctx, run)
		var log []jobs.Entry
		if err == nil {
			log, err = r.readOnce(ctx, run)
		}
		if err == nil && len(log) > 0 && log[len(log)-1].Sequence >= newest {
			return log, droppedIn(run, log)
		}
		if err == nil {
			err = pause.For(ctx, backoff.NextBackOff())
		}
		if err != nil {
			return nil, fmt.Errorf("read the log of run %s: %w", run, err)
		}
	}
}

// readOnce reads the part of a run's log that the sending replica has.
func (r *Runs) readOnce(ctx context.Context, run jobs.RunID) (log []jobs.Entry, err error) {
	var v *verifier
	src := jetstream.Source{Stream: streams.Runs, Filters: []string{topology.Records(run)}, Began: func() error {
		log, v = nil, r.verifier(run)
		return nil
	}}
	err = r.c.ReadAll(ctx, src, func(m jetstream.Message) error {
		e, err := r.entry(ctx, m, v)
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
func (r *Runs) Follow(ctx context.Context, run jobs.RunID, after uint64, out chan<- jobs.Entry) error {
	v, err := r.verifierAfter(ctx, run, after)
	if err != nil {
		return ignoreEnd(ctx, err)
	}
	begun := false
	src := jetstream.Source{Stream: streams.Runs, Filters: []string{topology.Records(run)}, After: after, Began: func() error {
		if begun {
			return ErrReconnected
		}
		begun = true
		return nil
	}}
	err = r.c.Feed(ctx, src, func(m jetstream.Message) error {
		e, err := r.entry(ctx, m, v)
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
