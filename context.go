package modpipe

import (
	"context"
	"log/slog"
)

// Attempt describes the attempt for which a function runs.
type Attempt struct {
	Run          string // the run's id
	Pipeline     string
	Module       string
	Number       int    // from 1
	Worker       string // that runs it
	Dir          string // of its files: what it produces is below it, and so is what it consumes; "" = it has none
	FencingToken uint64 // grows with every attempt that holds the module's keys or limits; 0 = it holds none
}

type contextKey struct{}

// running is the value in the context of an attempt.
type running struct {
	attempt Attempt
	log     *slog.Logger
}

// AttemptOf is the attempt that ctx belongs to; the zero Attempt outside of one.
// Its fencing token is for stores that can refuse an older one: a machine that
// was paused while it held a key may still write after it has lost it.
func AttemptOf(ctx context.Context) Attempt {
	if r, ok := ctx.Value(contextKey{}).(*running); ok {
		return r.attempt
	}
	return Attempt{}
}

// Logger writes into the log of the module: lines that are seen while it runs
// and kept with the run. Outside of an attempt, as in a plain unit test, it is
// slog's default.
func Logger(ctx context.Context) *slog.Logger {
	if r, ok := ctx.Value(contextKey{}).(*running); ok {
		return r.log
	}
	return slog.Default()
}
