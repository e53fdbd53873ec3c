package cli

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/natsembed"
	"github.com/modpipe/modpipe/internal/redact"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/worker"
)

// service is a process that works until a signal ends it: an orchestrator that
// serves, a worker, or both, on one connection. serve, dev and worker are
// services. (A run is no service: it ends by itself, see runner.)
type service struct {
	app *app
	log *slog.Logger

	// open connects, or embeds a server; it calls lost when the store of that
	// server is removed.
	open        func(ctx context.Context, lost context.CancelCauseFunc) (*access.Session, error)
	worker      *worker.Config                                  // nil = no worker
	orchestrate func(ctx context.Context, c *broker.Conn) error // decides for runs until ctx ends; nil = no orchestrator
}

// Run works until the first signal, and then until its parts have left in order.
// A second signal stops a worker immediately, the third the process.
func (s *service) Run(ctx context.Context) error {
	s.app.Outlive()
	ctx, kill := context.WithCancelCause(ctx)
	serving, leave := context.WithCancel(ctx)
	l := &leaving{app: s.app, log: s.log, kill: kill, leave: leave, works: s.worker != nil}
	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() { l.watch(done) })
	defer func() { leave(); kill(nil); close(done); watcher.Wait() }()

	session, err := s.open(ctx, kill)
	if err != nil {
		return l.verdict(ctx, err)
	}
	defer session.Close()
	var w *worker.Worker
	if s.worker != nil {
		if w, err = s.newWorker(session); err != nil {
			return err
		}
		l.working(w)
	}
	var g errgroup.Group
	if s.orchestrate != nil {
		g.Go(func() error {
			err := s.orchestrate(serving, session.Conn)
			if w != nil {
				w.Drain()
			}
			return err
		})
	}
	if w != nil {
		g.Go(func() error {
			err := w.Run(ctx)
			leave()
			return err
		})
	}
	err = g.Wait()
	if errors.Is(err, kv.ErrTaken) && w != nil {
		return exit.NotFoundf("a live worker is named %s already: choose another --name", w.Name())
	}
	return l.verdict(ctx, err)
}

// newWorker returns the worker of the service, which reports when it begins.
func (s *service) newWorker(session *access.Session) (w *worker.Worker, err error) {
	cfg := *s.worker
	cfg.Alone = session.Alone()
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
	if session.Server == nil {
		s.log.Info("connected", "server", redact.URLs(session.Conn.URL()), "worker", w.Name())
	}
	return w, nil
}

// leaving ends a service when signals arrive.
type leaving struct {
	app   *app
	log   *slog.Logger
	kill  context.CancelCauseFunc
	leave context.CancelFunc // ends the orchestrator
	works bool               // there is, or will be, a worker

	mu     sync.Mutex
	worker *worker.Worker // guarded by mu; nil before it is connected
	left   bool           // guarded by mu: a first signal came
}

// errLeft ends a service that has nothing to drain.
var errLeft = errors.New("a signal ended it before it had work")

// working notes that there is a worker to drain from now on.
func (l *leaving) working(w *worker.Worker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.worker = w
	if l.left {
		w.Drain()
	}
}

// watch does what signals ask for, until done. Without a worker only the first
// has a meaning.
func (l *leaving) watch(done <-chan struct{}) {
	eachSignal(l.app.Signals, done, func(n int, sig os.Signal) (more bool) {
		switch n {
		case 1:
			l.first(sig)
		case 2:
			l.log.Warn(exit.SignalName(sig) + ": stopping immediately")
			l.kill(exit.SignalError{Signal: sig})
		default:
			l.app.Exit(exit.SignalCode(sig))
		}
		return l.works
	})
}

func (l *leaving) first(sig os.Signal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = true
	l.leave()
	if l.worker == nil {
		l.kill(errLeft)
		return
	}
	l.log.Info(exit.SignalName(sig) + ": draining; once more stops immediately")
	l.worker.Drain()
}

// verdict is the error with which a service ends. After an orderly end it is nil.
func (l *leaving) verdict(ctx context.Context, err error) error {
	var sig exit.SignalError
	switch cause := context.Cause(ctx); {
	case errors.As(cause, &sig):
		return sig
	case errors.Is(cause, errLeft):
		return nil
	case errors.Is(cause, natsembed.ErrStoreGone):
		return cause
	}
	return err
}

// eachSignal calls f with the signals that mean something, numbered from 1, until
// done, or until f wants no more.
func eachSignal(signals <-chan os.Signal, done <-chan struct{}, f func(n int, sig os.Signal) (more bool)) {
	var count signalCount
	for {
		select {
		case sig := <-signals:
			if n := count.take(sig, time.Now()); n > 0 && !f(n, sig) {
				return
			}
		case <-done:
			return
		}
	}
}
