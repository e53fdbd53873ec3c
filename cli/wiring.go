package cli

import (
	"context"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/worker"
)

// wiring is what one process runs on one connection to NATS: a server inside the
// process or a connection to another one, at most one worker, and at most one
// orchestrator. Every command that works uses it: run, resume, runs retry, serve,
// dev and worker. They differ in what the orchestrator decides for, and in what
// signals mean.
//
// The parts start in the order server, worker, orchestrator, and end in the
// opposite order, except that the worker finishes after the orchestrator.
type wiring struct {
	app *app

	// open connects, or embeds a server. It passes stop to that server, which
	// calls it when its store is removed.
	open func(ctx context.Context, stop context.CancelCauseFunc) (*access.Session, error)
	// worker returns the worker of this process; nil, or a nil result = none.
	worker func(s *access.Session) (*worker.Worker, error)
	// decide is the orchestrator. It returns when ctx ends, or when nothing is
	// left to decide. nil = none: the process is a worker only.
	decide func(ctx context.Context, s *access.Session) error
	// conclude reports what was decided, after the worker has ended. err is the
	// error of decide, and its own result replaces it. nil = nothing to report.
	conclude func(ctx context.Context, s *access.Session, err error) error
	// watch handles signals until done.
	watch func(ctx context.Context, c *control, done <-chan struct{})

	// verdict returns the error of Run, given the reason for which everything was
	// stopped, nil without one, and the error of what ran.
	verdict func(cause, err error) error

	workerTTL time.Duration // of the registry of workers
	tied      bool          // the orchestrator leaves when the worker ends
}

// workerPatience bounds the wait for the worker in this process.
const workerPatience = 5 * time.Second

// control ends the parts of a wiring.
type control struct {
	stop  context.CancelCauseFunc // ends everything immediately, for a reason
	leave context.CancelFunc      // ends the orchestrator in order

	mu     sync.Mutex
	worker *worker.Worker // guarded by mu; nil before it exists
	left   bool           // guarded by mu: the worker must drain
}

// working sets the worker, which drains immediately when that was asked for before.
func (c *control) working(w *worker.Worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.worker = w
	if c.left {
		w.Drain()
	}
}

// drain drains the worker, or notes that it must drain. It reports whether the
// worker exists.
func (c *control) drain() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
	if c.worker == nil {
		return false
	}
	c.worker.Drain()
	return true
}

// Run runs the parts to their end.
func (w *wiring) Run(ctx context.Context) error {
	w.app.Outlive()
	ctx, stop := context.WithCancelCause(ctx)
	deciding, leave := context.WithCancel(ctx)
	c := &control{stop: stop, leave: leave}
	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() { w.watch(ctx, c, done) })
	defer func() { leave(); stop(nil); close(done); watcher.Wait() }()
	err := w.run(ctx, deciding, c)
	return w.verdict(context.Cause(ctx), err)
}

// run is Run without signals. deciding is ctx, and ends earlier when only the
// orchestrator is to leave.
func (w *wiring) run(ctx, deciding context.Context, c *control) error {
	if w.decide != nil {
		if err := w.app.sessions.LoadKeys(w.app.path); err != nil {
			return err
		}
	}
	s, err := w.open(ctx, c.stop)
	if err != nil {
		return err
	}
	defer s.Close()
	finish, err := w.start(ctx, deciding, c, s)
	if err != nil {
		return err
	}
	if w.decide == nil {
		return finish()
	}
	err = w.decide(deciding, s)
	c.drain()
	failed := finish()
	if w.conclude != nil {
		return w.conclude(ctx, s, err)
	}
	if err == nil {
		err = failed
	}
	return err
}

// start starts the worker, if there is one. finish waits until it has ended. The
// worker outlives the end of ctx until finish is called, which kills and commits
// what the worker runs: the connection must not close before.
func (w *wiring) start(ctx, deciding context.Context, c *control, s *access.Session) (finish func() error, err error) {
	var part *worker.Worker
	if w.worker != nil {
		if w.decide != nil {
			if err := kv.Create(ctx, s.Conn.Conn, w.workerTTL); err != nil {
				return nil, err
			}
		}
		if part, err = w.worker(s); err != nil {
			return nil, err
		}
	}
	if part == nil {
		return func() error { return nil }, nil
	}
	c.working(part)
	wctx, kill := context.WithCancel(context.WithoutCancel(ctx))
	var g errgroup.Group
	g.Go(func() error {
		err := part.Run(wctx)
		if err != nil && wctx.Err() == nil {
			c.stop(&workerError{err})
		}
		if w.tied {
			c.leave()
		}
		return err
	})
	if w.decide != nil {
		awaitWorker(deciding, s.Conn, w.workerTTL, part.Name())
	}
	return func() error {
		defer kill()
		defer context.AfterFunc(ctx, kill)()
		return g.Wait()
	}, nil
}

// workerError is the reason for which everything ends after the worker failed.
type workerError struct{ err error }

func (e *workerError) Error() string { return "the worker in this process: " + e.err.Error() }
func (e *workerError) Unwrap() error { return e.err }

// awaitWorker waits a little for a worker to be registered, so that the
// orchestrator does not begin by reporting that it has no worker.
func awaitWorker(ctx context.Context, c *broker.Conn, ttl time.Duration, name string) {
	ctx, stop := context.WithTimeout(ctx, workerPatience)
	defer stop()
	registry, err := kv.OpenRegistry(ctx, c.Conn, ttl)
	if err != nil {
		return
	}
	changes := make(chan kv.Change)
	var g errgroup.Group
	g.Go(func() error { return registry.Watch(ctx, changes) })
	defer func() { stop(); _ = g.Wait() }()
	for {
		select {
		case <-ctx.Done():
			return
		case change := <-changes:
			if change.Worker.Name == name && !change.Gone {
				return
			}
		}
	}
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
