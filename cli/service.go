package cli

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/checkout"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/natsembed"
	"github.com/modpipe/modpipe/internal/redact"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/worker"
)

// service is a process that works until a signal ends it: an orchestrator that
// serves, a worker, or both. serve, dev and worker are services. The first signal
// ends a service in order, the second stops its worker immediately, the third ends
// the process.
type service struct {
	app *app
	log *slog.Logger

	open        func(ctx context.Context, stop context.CancelCauseFunc) (*access.Session, error)
	worker      *worker.Config                                  // nil = no worker
	workerTTL   time.Duration                                   // of the registry of workers, of an orchestrator
	orchestrate func(ctx context.Context, c *broker.Conn) error // decides for runs until ctx ends; nil = no orchestrator

	filesDir string // of the worker's store of files; "" = the default
	filesMax int64  // bytes that it may take; 0 = the default

	checkout *checkout.Checkout // the worker's own workspace; nil = it has the files of every run

	name string // of the worker, once it exists
}

// errLeft ends a service that has nothing to drain.
var errLeft = errors.New("a signal ended it before it had work")

// Run works until the first signal, and then until its parts have left in order.
func (s *service) Run(ctx context.Context) error {
	w := &wiring{app: s.app, open: s.open, watch: s.watch, verdict: s.verdict, tied: true}
	if s.worker != nil {
		w.worker, w.workerTTL = s.newWorker, s.workerTTL
	}
	if s.orchestrate != nil {
		w.decide = func(ctx context.Context, session *access.Session) error { return s.orchestrate(ctx, session.Conn) }
	}
	return w.Run(ctx)
}

// newWorker returns the worker of the service, which logs when it begins.
func (s *service) newWorker(session *access.Session) (w *worker.Worker, err error) {
	cfg := *s.worker
	cfg.Alone = session.Alone()
	m := machineFiles(session.Conn, s.filesDir, s.filesMax, cfg.Slots)
	if cfg.Files = m; s.checkout != nil {
		s.checkout.Use(session.Conn.Files, m.Store)
		cfg.Copy = s.checkout
	}
	cfg.Began = func() {
		where := cfg.Workspace
		if where == "" {
			where = "a fresh directory for each attempt"
		}
		s.log.Info("working", "worker", w.Name(), "slots", cfg.Slots, "workspace", where)
	}
	if w, err = worker.New(session.Conn, cfg); err != nil {
		return nil, exit.Usagef("%w", err)
	}
	s.name = w.Name()
	if session.Server == nil {
		s.log.Info("connected", "server", redact.URLs(session.Conn.URL()), "worker", s.name)
	}
	return w, nil
}

// watch handles signals until done. Without a worker only the first one has a
// meaning.
func (s *service) watch(_ context.Context, c *control, done <-chan struct{}) {
	eachSignal(s.app.Signals, done, func(n int, sig os.Signal) (more bool) {
		switch n {
		case 1:
			c.leave()
			if !c.drain() {
				c.stop(errLeft)
				break
			}
			s.log.Info(exit.SignalName(sig) + ": draining; once more stops immediately")
		case 2:
			s.log.Warn(exit.SignalName(sig) + ": stopping immediately")
			c.stop(exit.SignalError{Signal: sig})
		default:
			s.app.Exit(exit.SignalCode(sig))
		}
		return s.worker != nil
	})
}

// verdict is the error with which the service ends. After an orderly end it is nil.
func (s *service) verdict(cause, err error) error {
	if failed, ok := errors.AsType[*workerError](cause); ok {
		err = failed.err
	}
	switch sig, ok := errors.AsType[exit.SignalError](cause); {
	case ok:
		return sig
	case errors.Is(cause, errLeft):
		return nil
	case errors.Is(cause, natsembed.ErrStoreGone):
		return cause
	case errors.Is(err, kv.ErrTaken):
		return exit.NotFoundf("a live worker is named %s already: choose another --name", s.name)
	}
	return err
}
