package worker

import (
	"context"
	"fmt"
	"sync"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/pipeline"
)

// Worker is one worker.
type Worker struct {
	conn *broker.Conn
	cfg  Config

	program *pipeline.Program // nil when it executes commands only

	drainOnce sync.Once
	drain     chan struct{} // closed by Drain
}

// New checks cfg, reports all its faults together, and returns a worker that is not
// running yet.
func New(c *broker.Conn, cfg Config) (*Worker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	program, err := cfg.program()
	if err != nil {
		return nil, err
	}
	return &Worker{conn: c, cfg: cfg.filled(), program: program, drain: make(chan struct{})}, nil
}

// program returns the program that the worker is part of; nil without one.
func (c Config) program() (*pipeline.Program, error) {
	if c.Functions == nil {
		return nil, nil
	}
	id, err := c.Functions.Identity()
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	return &id, nil
}

// Name is the full name of the worker: GROUP.NAME, or NAME in the default group.
func (w *Worker) Name() string { return w.cfg.Name }

// Drain ends the worker in an orderly way: Run takes no new jobs, finishes its
// attempts, hands back those that do not end within DrainTimeout, and returns. Drain
// does not wait.
func (w *Worker) Drain() { w.drainOnce.Do(func() { close(w.drain) }) }

// Run registers the worker and works until a drain is over (nil) or ctx ends: then it
// kills its attempts, commits them as handed back if NATS answers soon, and returns
// the cause of ctx. kv.ErrTaken means that a live worker has the name, and
// broker.ErrDenied that NATS denies a permission. Call it once.
func (w *Worker) Run(ctx context.Context) error {
	s, err := w.begin(ctx)
	if err != nil || s == nil {
		return err
	}
	return s.run(ctx)
}

// begin opens the buckets and registers. It returns neither a shift nor an error when
// the worker is drained while it waits for NATS.
func (w *Worker) begin(ctx context.Context) (*shift, error) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() {
		select {
		case <-w.drain:
			cancel()
		case <-ctx.Done():
		}
	})
	s, err := newShift(w)
	if err == nil {
		err = s.open(ctx)
	}
	if err == nil {
		err = s.register(ctx)
	}
	if err != nil && w.draining() {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("worker %s: %w", w.cfg.Name, err)
	}
	if w.cfg.Began != nil {
		w.cfg.Began()
	}
	return s, nil
}

func (w *Worker) draining() bool {
	select {
	case <-w.drain:
		return true
	default:
		return false
	}
}
