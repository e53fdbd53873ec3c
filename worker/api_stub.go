// Package worker runs modules. STUB: signatures that others compile against.
package worker

import (
	"context"
	"log/slog"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
)

// Config configures a worker.
type Config struct {
	Name         string // [A-Za-z0-9_-]{1,64}; "" = host name and a random suffix
	Slots        int    // 0 = number of CPUs
	Tags         []string
	Tools        []string // added to what is found on PATH, "name" or "name=version"
	OnlyTools    []string // not nil: replaces what is found on PATH
	Labels       map[string]string
	Workspace    string        // where commands run; "" = a fresh directory for each attempt
	PassEnv      []string      // names or patterns of its own environment that modules may ask for
	PassAll      bool          // the embedded worker: modules may ask for anything
	DrainTimeout time.Duration // 0 = 30 s
	WorkerTTL    time.Duration // for the registry, when it is made here
	ExitWhenIdle bool
	Version      string
	Logger       *slog.Logger
}

// Worker is one worker.
type Worker struct{}

// New checks cfg and makes a worker; nothing runs yet.
func New(c *broker.Conn, cfg Config) (*Worker, error) { panic("stub") }

// Name is the worker's name.
func (w *Worker) Name() string { panic("stub") }

// Run registers and works until Drain has come to its end (nil) or ctx ends (what runs is killed; what it ran is committed as handed back if NATS answers soon).
func (w *Worker) Run(ctx context.Context) error { panic("stub") }

// Drain makes Run take nothing new, finish what it runs, hand back what does not end within DrainTimeout, and return.
func (w *Worker) Drain() { panic("stub") }

// Detect finds out what this machine offers (for `worker capabilities`), with all tools on PATH.
func Detect(ctx context.Context, cfg Config) (jobs.Capabilities, error) { panic("stub") }
