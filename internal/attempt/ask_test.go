package attempt

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// silent is a log whose orchestrators do not answer. It reconnects
// after the second question.
type silent struct {
	Log
	asked int
}

func (l *silent) Connection() uint64 {
	if l.asked >= 2 {
		return 2
	}
	return 1
}

func (l *silent) Ask(context.Context, jobs.RunID, jobs.Question) error {
	l.asked++
	return nil
}

func (l *silent) Ended(context.Context, jobs.RunID) (bool, error) { return false, nil }

// still is a clock whose pauses take no time.
type still struct{}

func (still) Now() time.Time                             { return time.Unix(0, 0) }
func (still) Pause(context.Context, time.Duration) error { return nil }
func (still) Await(context.Context, <-chan struct{}) error {
	return context.DeadlineExceeded
}

func (still) Within(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}

// The question names a sequence that was read on the connection. A
// server that has lost the last part of the log may never reach it again.
func TestAQuestionEndsWithItsConnection(t *testing.T) {
	log := &silent{}
	w := &Worker{Name: "w", Incarnation: "w", TTL: time.Second, KeyLease: NewKeyLease(time.Second), Log: log, Clock: still{}, Logger: slog.New(slog.DiscardHandler)}
	d := w.Deliver(&jobs.Job{Run: "r", Module: "m", Attempt: 1}, Arrival{Nonce: "n", Connection: 1})
	if _, err := d.ask(t.Context(), cellView{state: unexplained, sequence: 54, on: 1}); !errors.Is(err, ErrReconnected) {
		t.Errorf("%v, want %v", err, ErrReconnected)
	}
	if log.asked != 2 {
		t.Errorf("it asked %d times, want 2", log.asked)
	}
}
