package cli

import (
	"context"
	"io"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/progress"
	"github.com/modpipe/modpipe/worker"
)

// TestSignalEchoCountsOnce: a signal within a second of the same one does not
// count; a different one does.
func TestSignalEchoCountsOnce(t *testing.T) {
	type sent struct {
		s    os.Signal
		at   time.Duration
		want int
	}
	const term, hup = syscall.SIGTERM, syscall.SIGHUP
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, signals := range map[string][]sent{
		"delivered twice":              {{term, 0, 1}, {term, time.Millisecond, 0}},
		"delivered three times":        {{term, 0, 1}, {term, 1, 0}, {term, 2, 0}},
		"a second later":               {{term, 0, 1}, {term, time.Second, 2}},
		"just within a second":         {{term, 0, 1}, {term, time.Second - 1, 0}},
		"a different one":              {{os.Interrupt, 0, 1}, {term, 1, 2}, {hup, 2, 3}},
		"both delivered twice":         {{os.Interrupt, 0, 1}, {term, 1, 2}, {os.Interrupt, 2, 0}, {term, 3, 0}},
		"an echo extends nothing":      {{term, 0, 1}, {term, 900 * time.Millisecond, 0}, {term, 1100 * time.Millisecond, 2}},
		"a key that is held down":      {{os.Interrupt, 0, 1}, {os.Interrupt, 400 * time.Millisecond, 0}, {os.Interrupt, 800 * time.Millisecond, 0}, {os.Interrupt, 1200 * time.Millisecond, 2}, {os.Interrupt, 2200 * time.Millisecond, 3}},
		"a terminal closes only once":  {{hup, 0, 1}, {hup, time.Hour, 0}, {term, time.Hour, 2}},
		"a terminal closes after INT":  {{os.Interrupt, 0, 1}, {hup, time.Second / 2, 2}},
		"an hour between the same two": {{term, 0, 1}, {term, time.Hour, 2}, {term, 2 * time.Hour, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			var count signalCount
			for i, s := range signals {
				if got := count.take(s.s, start.Add(s.at)); got != s.want {
					t.Errorf("signal %d, %v after %v: %d, want %d", i, s.s, s.at, got, s.want)
				}
			}
		})
	}
}

// heard records the reaction of a program to signals.
type heard struct {
	app  *app
	exit int // 0 = it lives
}

func newHeard() (*heard, chan os.Signal) {
	h, signals := &heard{}, make(chan os.Signal)
	h.app = newApp("x", Process{Signals: signals, Exit: func(code int) { h.exit = code }})
	return h, signals
}

// TestWorkerCountsAnEchoOnce: a worker that a wrapper signals twice
// drains; a second later it stops.
func TestWorkerCountsAnEchoOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, signals := newHeard()
		ctx, kill := context.WithCancelCause(t.Context())
		drained := 0
		l := &service{app: h.app, log: slog.New(slog.DiscardHandler), worker: &worker.Config{}}
		done := make(chan struct{})
		go l.watch(ctx, &control{stop: kill, leave: func() { drained++ }}, done)
		send := func(s os.Signal, wait time.Duration) { signals <- s; synctest.Wait(); <-time.After(wait) }
		send(syscall.SIGTERM, time.Millisecond)
		send(syscall.SIGTERM, time.Second)
		if drained != 1 || context.Cause(ctx) != errLeft { //nolint:errorlint // the very one
			t.Errorf("drained %d times, then %v", drained, context.Cause(ctx))
		}
		send(syscall.SIGTERM, 0)
		if h.exit != 0 {
			t.Errorf("the second signal ended the process with %d", h.exit)
		}
		send(os.Interrupt, 0)
		if h.exit != 130 {
			t.Errorf("the third signal ended the process with %d, want 130", h.exit)
		}
		close(done)
		synctest.Wait()
	})
}

// TestRunCountsAnEchoOnce: before the run is stored the first signal
// leaves, and its echo does not cut that short.
func TestRunCountsAnEchoOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, signals := newHeard()
		r := &runner{app: h.app, progress: progress.Silent()}
		ctx, stop := context.WithCancelCause(t.Context())
		done := make(chan struct{})
		go r.watchSignals(ctx, &control{stop: stop}, done)
		for range 3 {
			signals <- syscall.SIGTERM
			synctest.Wait()
		}
		if context.Cause(ctx) != error(exit.SignalError{Signal: syscall.SIGTERM}) || h.exit != 0 { //nolint:errorlint // the very one
			t.Errorf("ended by %v, exit code %d", context.Cause(ctx), h.exit)
		}
		<-time.After(time.Second)
		signals <- syscall.SIGTERM
		synctest.Wait()
		if h.exit != 143 {
			t.Errorf("a second later: exit code %d, want 143", h.exit)
		}
		close(done)
	})
}

// endless never takes what is written to it.
type endless struct{ asked chan struct{} }

func (e endless) Write([]byte) (int, error) {
	close(e.asked)
	select {}
}

// TestSchemaEndsAtTheFirstSignal: also when its output has no reader.
func TestSchemaEndsAtTheFirstSignal(t *testing.T) {
	signals, out := make(chan os.Signal, 1), endless{make(chan struct{})}
	go func() {
		<-out.asked
		signals <- syscall.SIGTERM
	}()
	if code := Orchestrator(t.Context(), Process{Args: []string{"schema"}, Stdout: out, Stderr: io.Discard, Signals: signals}); code != exit.Terminated {
		t.Errorf("exit code %d, want 143", code)
	}
}
