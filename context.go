package modpipe

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/modpipe/modpipe/internal/mask"
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
	secrets []mask.Secret
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

// Secret is the value of a secret of the module that ctx belongs to. The error names a
// secret that the module does not declare; outside of an attempt no secret is known.
func Secret(ctx context.Context, name string) (string, error) {
	r, ok := ctx.Value(contextKey{}).(*running)
	if !ok {
		return "", fmt.Errorf("secret %q: this context is not that of an attempt", name)
	}
	for _, s := range r.secrets {
		if s.Name == name {
			return s.Value, nil
		}
	}
	return "", Permanent(fmt.Errorf("module %s does not declare the secret %q: add modpipe.Secrets(%q) to its options", r.attempt.Module, name, name))
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
