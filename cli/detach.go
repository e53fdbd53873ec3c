package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/internal/redact"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/jobs"
)

// detachRun hands a run, with its files, to an orchestrator that serves and prints
// its id.
func detachRun(ctx context.Context, a *app, spec *jobs.Spec, storeDir string, t *taker) error {
	ctx, stop := a.interruptible(ctx)
	defer stop()
	s, err := openServing(ctx, a, storeDir)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := t.take(ctx, s.Conn, spec, true); err != nil {
		return err
	}
	return handOver(ctx, a, s, spec)
}

func detachRetry(ctx context.Context, a *app, r *runner) error {
	defer r.progress.Close()
	ctx, stop := a.interruptible(ctx)
	defer stop()
	s, err := openServing(ctx, a, r.storeDir)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := r.prepare(ctx, s); err != nil {
		return err
	}
	return handOver(ctx, a, s, r.spec)
}

func handOver(ctx context.Context, a *app, s *access.Session, spec *jobs.Spec) error {
	if err := submitSpec(ctx, a, s, spec); err != nil {
		return err
	}
	if err := awaitTaken(ctx, a, s.Conn, spec.Run); err != nil {
		return err
	}
	return a.emit(struct {
		Run jobs.RunID `json:"run"`
	}{spec.Run}, func(w io.Writer) { console.Writeln(w, spec.Run) }, func(w io.Writer) { console.Writeln(w, spec.Run) })
}

// submitSpec stores a run. An id that is known is answered with its run, if that
// is the run that is to be submitted: a submission may be repeated.
func submitSpec(ctx context.Context, a *app, s *access.Session, spec *jobs.Spec) error {
	err := client.New(s.Conn).Submit(ctx, spec)
	if !errors.Is(err, client.ErrExists) {
		if err != nil {
			err = fmt.Errorf("submit run %s: %w", spec.Run, err)
		}
		return err
	}
	err = client.New(s.Conn).Known(ctx, spec)
	switch {
	case err == nil:
		console.Writef(a.Stderr, "run %s exists already, and is not submitted again\n", spec.Run)
		return nil
	case errors.Is(err, client.ErrOther):
		return exit.NotFoundf("run %s exists already, and %w: choose another --run-id, or leave it out", spec.Run, err)
	case errors.As(err, new(*broker.DroppedError)):
		return exit.NotFoundf("run %s exists already, and cannot be compared with this one: %w\nchoose another --run-id, or leave it out", spec.Run, err)
	}
	return fmt.Errorf("compare with run %s, which exists already: %w", spec.Run, err)
}

// takenWithin is how long orchestrators that serve may take to take a run.
// One that has lost its connection needs some seconds after it is back.
const takenWithin = 15 * time.Second

// awaitTaken waits until an orchestrator has taken a run that was submitted,
// or it is clear why not yet. A run that no serving process takes is
// cancelled: the caller never gets the id of a run that does not start.
func awaitTaken(ctx context.Context, a *app, c *broker.Conn, run jobs.RunID) error {
	waiting, stop := context.WithTimeout(ctx, takenWithin)
	defer stop()
	how, err := client.New(c).AwaitTaken(waiting, run)
	switch {
	case err == nil && how == client.Unserved:
		console.Writeln(a.Stderr, "no orchestrator serves this NATS at the moment: the run begins when one does (`orchestrator serve`)")
	case err == nil && how == client.Queued:
		console.Writeln(a.Stderr, "the orchestrator that serves decides for as many runs as it may (--max-runs): the run waits its turn")
	case ctx.Err() != nil:
		console.Writef(a.Stderr, "run %s is submitted, and starts when an orchestrator takes it: `orchestrator runs cancel %s` cancels it\n", run, run)
		return context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded):
		return withdrawRun(ctx, a, c, run)
	}
	return err
}

// withdrawRun cancels a run that no orchestrator takes.
func withdrawRun(ctx context.Context, a *app, c *broker.Conn, run jobs.RunID) error {
	fate := "the run is cancelled"
	err := client.New(c).Cancel(ctx, run, jobs.Cancel{ID: ident.New(), By: startedBy(a), Reason: "no orchestrator took the run over"})
	if err != nil {
		fate = fmt.Sprintf("the run could not be cancelled (%v)", err)
	}
	return exit.Infrastructuref("run %s did not start: an orchestrator serves %s, and took no run over within %s; %s.\n"+
		"Look into the log of the orchestrator, start it again, and submit again", run, redact.URLs(c.URL()), jobs.ShortDuration(takenWithin), fate)
}

// openServing connects to where an orchestrator serves: the server that the
// settings name, else the process that serves the workspace's store.
func openServing(ctx context.Context, a *app, storeDir string) (*access.Session, error) {
	if t, remote, err := a.nats.Named(); err != nil {
		return nil, err
	} else if remote {
		return a.sessions.OpenRemote(ctx, t)
	}
	if err := store.OurTemporary(storeDir); err != nil {
		return nil, err
	}
	h, ok := store.ReadHolder(storeDir)
	if !ok || !h.Serves {
		return nil, exit.Usagef("--detach hands the run to an orchestrator that serves, and none serves this workspace:\n" +
			"start `orchestrator dev` here, or name a NATS server (--server) on which `orchestrator serve` runs")
	}
	c, err := a.sessions.Join(ctx, h, a.set.ConnectTimeout)
	if err != nil {
		return nil, err
	}
	return &access.Session{Conn: c}, nil
}
