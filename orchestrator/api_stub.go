// Package orchestrator runs runs. STUB: signatures that others compile against.
package orchestrator

import (
	"context"
	"errors"
	"log/slog"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
)

// Errors that callers branch on.
var (
	ErrExists = errors.New("a run of this id exists")
	ErrEnded  = errors.New("the run has ended")
)

// Config configures an orchestrator.
type Config struct {
	Name   string // of this orchestrator; "" = host and a random suffix
	Logger *slog.Logger
	Fleet  func(jobs.Event) // called from one goroutine with worker.joined, worker.lost and waiting; may be nil
}

// Submit stores the spec: the run exists from here on. ErrExists.
func Submit(ctx context.Context, c *broker.Conn, spec *jobs.Spec) error { panic("stub") }

// Run decides for a run until it has ended and returns its verdict. When ctx ends it stops deciding and returns; the run stays as it is.
func Run(ctx context.Context, c *broker.Conn, run jobs.RunID, cfg Config) (jobs.End, error) {
	panic("stub")
}

// Cancel records a cancellation; broker.ErrNotFound, ErrEnded. Calling it again is the second cancellation. Returns when it is stored.
func Cancel(ctx context.Context, c *broker.Conn, run jobs.RunID, cancel jobs.Cancel) error {
	panic("stub")
}

// Follow folds the run's log from its beginning and sends its events in order to sink (on one goroutine), with module.output
// events in between (all of an attempt's output before its module.ended / module.retrying), until the run has ended, and returns the report.
// logs=false leaves module.output out.
func Follow(ctx context.Context, c *broker.Conn, run jobs.RunID, logs bool, sink func(jobs.Event)) (*jobs.Report, error) {
	panic("stub")
}

// Report is the run as it stands now.
func Report(ctx context.Context, c *broker.Conn, run jobs.RunID) (*jobs.Report, error) { panic("stub") }
