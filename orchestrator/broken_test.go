package orchestrator_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/schedule"
	"github.com/modpipe/modpipe/test/natstest"
)

// leavings records the errors with which Serve left runs.
type leavings struct {
	mu   sync.Mutex
	left []error
}

func (l *leavings) note(_ jobs.RunID, _ jobs.End, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = append(l.left, err)
}

// after waits for an hour, and returns the errors until then.
func (l *leavings) after() []error {
	<-time.After(time.Hour)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.left
}

// TestServeTriesAnUnreadableLogOnceUntilItChanges: Serve leaves a run whose log
// cannot be folded, and reports it once. It tries again when the log has changed.
func TestServeTriesAnUnreadableLogOnceUntilItChanges(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		ctx, stop := context.WithCancel(context.Background())
		c, err := broker.Connect(ctx, broker.Config{Options: s.Options(), Memory: true, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		c = c.WithKeys(natstest.Keys(t, 1))
		defer c.Close()
		p := &pipeline.Pipeline{Name: "p", Modules: []*pipeline.Module{{Name: "m", Command: &pipeline.Command{Run: "true"}}}}
		if err := client.New(c).Submit(ctx, &jobs.Spec{Run: "r", Pipeline: p}); err != nil {
			t.Fatal(err)
		}
		odd := jobs.Record{Expansion: &jobs.Expansion{Module: "m"}} // m is no family
		if _, err := c.Runs.Append(ctx, "r", "", 0, odd); err != nil {
			t.Fatal(err)
		}
		if err := client.New(c).Check(ctx, "r"); !errors.Is(err, schedule.ErrCorrupt) || !runlog.Unreadable(err) {
			t.Fatalf("the log is readable: %v", err)
		}
		var l leavings
		var g errgroup.Group
		g.Go(func() error { return orchestrator.Serve(ctx, c, orchestrator.ServeConfig{Left: l.note}) })
		if left := l.after(); len(left) != 1 || !runlog.Unreadable(left[0]) {
			t.Errorf("in an hour it was left %d times: %v", len(left), left)
		}
		if _, err := c.Runs.Append(ctx, "r", "", 0, jobs.Record{Cancel: &jobs.Cancel{ID: "c"}}); err != nil {
			t.Fatal(err)
		}
		if left := l.after(); len(left) != 2 {
			t.Errorf("after its log had changed: %d times: %v", len(left), left)
		}
		if err := c.Runs.Forget(ctx, "r"); err != nil {
			t.Fatal(err)
		}
		if left := l.after(); len(left) != 2 {
			t.Errorf("after it was gone: %d times: %v", len(left), left)
		}
		stop()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// TestRunWaitsForALockOfANewerVersion: a run waits for a lock whose entry a
// newer version has written, and an event shows it. The run continues when the
// entry is gone.
func TestRunWaitsForALockOfANewerVersion(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	h := jobs.Holder{Run: "other", Module: "m", Attempt: 1, Epoch: 1}
	if _, err := locks.Acquire(s.ctx, s.locks(), db, h); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(s.nats.Connect(s.t))
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.KeyValue(s.ctx, "mp-locks")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := bucket.Keys(s.ctx)
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	if _, err := bucket.PutString(s.ctx, keys[0], "\x7fnewer"); err != nil {
		t.Fatal(err)
	}
	r := s.start("r1", user("in"))
	if got := r.waiting(); !strings.Contains(got, "key db of the cluster") || !strings.Contains(got, "a newer version of modpipe") {
		t.Errorf("it waits for %q", got)
	}
	s.touch("go")
	if err := bucket.Delete(s.ctx, keys[0]); err != nil {
		t.Fatal(err)
	}
	r.succeeds()
}
