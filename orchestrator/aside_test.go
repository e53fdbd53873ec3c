package orchestrator_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// faulty is a log handler that panics on messages that contain text.
type faulty struct{ text string }

func (f faulty) Enabled(context.Context, slog.Level) bool { return true }
func (f faulty) WithAttrs([]slog.Attr) slog.Handler       { return f }
func (f faulty) WithGroup(string) slog.Handler            { return f }

func (f faulty) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, f.text) {
		panic("a fault over: " + r.Message)
	}
	return nil
}

// corruptDurations stores unreadable durations for a pipeline. Every orchestrator
// of the pipeline logs a warning about them.
func corruptDurations(ctx context.Context, c *broker.Conn, pipeline string) error {
	if _, err := kv.OpenStats(ctx, c.Conn); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(pipeline))
	_, err := c.Request(ctx, &nats.Msg{Subject: "$KV.mp-stats." + hex.EncodeToString(sum[:16]), Data: []byte("none")})
	return err
}

// TestServeSetsAsideARunThatCausesAPanic: the orchestrator tries the run
// once, and the lease of the run holds the reason. Other runs go on. The run can
// be ended by force.
func TestServeSetsAsideARunThatCausesAPanic(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		c, err := broker.Connect(ctx, broker.Config{Options: s.Options(), Memory: true, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		c = c.WithKeys(natstest.Keys(t, 1))
		defer c.Close()
		for run, p := range map[jobs.RunID]*pipeline.Pipeline{"bad": skips("odd"), "good": skips("p")} {
			if err := client.New(c).Submit(ctx, &jobs.Spec{Run: run, Pipeline: p}); err != nil {
				t.Fatal(err)
			}
		}
		if err := corruptDurations(ctx, c, "odd"); err != nil {
			t.Fatal(err)
		}
		var l leavings
		var g errgroup.Group
		cfg := orchestrator.ServeConfig{Left: l.note, MaxRuns: 1}
		cfg.Logger = slog.New(faulty{"reading the durations of modules failed"})
		g.Go(func() error { return orchestrator.Serve(ctx, c, cfg) })
		left, panics := l.after(), 0
		for _, err := range left {
			if errors.Is(err, runlog.ErrPanicked) {
				panics++
			}
		}
		if panics != 1 || len(left) != 2 {
			t.Errorf("in an hour runs were left: %v", left)
		}
		if ended, err := c.Runs.Ended(ctx, "good"); err != nil || !ended {
			t.Errorf("the other run: %v, %v", ended, err)
		}
		holders, err := kv.Holders(ctx, c.Conn)
		if err != nil || holders["bad"].Problem == "" {
			t.Errorf("its lease has no reason: %+v, %v", holders["bad"], err)
		}
		if err := client.New(c).End(ctx, "bad", "because"); err != nil {
			t.Errorf("end it: %v", err)
		}
		if left := l.after(); len(left) != 2 {
			t.Errorf("after its end: %v", left)
		}
		if holders, err := kv.Holders(ctx, c.Conn); err != nil || holders["bad"].Holder != "" {
			t.Errorf("its lease is held after its end: %+v, %v", holders["bad"], err)
		}
		r, err := client.New(c).Show(ctx, "bad")
		if err != nil || r.Status != report.RunFailed || r.Error != "because" {
			t.Errorf("its report: %+v, %v", r, err)
		}
		if r, err := client.New(c).Follow(ctx, "bad", client.FollowOptions{Output: true}); err != nil || r.Status != report.RunFailed {
			t.Errorf("followed: %+v, %v", r, err)
		}
		stop()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// skips returns a pipeline that ends without a worker.
func skips(name string) *pipeline.Pipeline {
	f, err := pipeline.Parse("p.yaml", []byte("name: "+name+"\nmodules: {a: {if: 'false', run: 'true'}}\n"))
	if err != nil {
		panic(err)
	}
	p, err := f.Bind(nil, nil)
	if err != nil {
		panic(err)
	}
	return p
}

// TestEndEndsARunWithAnUnreadableLog: End ends a run whose log cannot be
// read, and the report shows it. End refuses runs that have ended, runs with an
// orchestrator, and unknown runs.
func TestEndEndsARunWithAnUnreadableLog(t *testing.T) {
	s := newShelf(t)
	ctx := t.Context()
	if err := client.New(s.conn).End(ctx, "none", "x"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("an unknown run: %v", err)
	}
	s.ended("over")
	if err := client.New(s.conn).End(ctx, "over", "x"); !errors.Is(err, client.ErrEnded) {
		t.Errorf("a run that has ended: %v", err)
	}
	s.submit("led")
	leases, err := kv.OpenLeases(ctx, s.conn.Conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leases.Acquire(ctx, "led", "other"); err != nil {
		t.Fatal(err)
	}
	if err := client.New(s.conn).End(ctx, "led", "x"); !errors.Is(err, client.ErrDecided) {
		t.Errorf("a run with an orchestrator: %v", err)
	}
	for subject, data := range map[string][]byte{"mp.run.bad.spec": []byte("no specification"), "mp.run.odd.spec": {1, 0xc0}} {
		if _, err := s.conn.Request(ctx, &nats.Msg{Subject: subject, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	runs, err := s.conn.Runs.List(ctx, broker.Page{})
	if err != nil {
		t.Fatal(err)
	}
	problems := map[jobs.RunID]bool{}
	for _, r := range runs {
		problems[jobs.RunID(r.Run.Run)] = r.Problem != nil
	}
	if !problems["bad"] || !problems["odd"] || problems["led"] {
		t.Errorf("the list: %v", problems)
	}
	for _, run := range []jobs.RunID{"bad", "odd"} {
		if err := client.New(s.conn).Check(ctx, run); !runlog.Unreadable(err) {
			t.Errorf("%s: %v", run, err)
		}
		if err := client.New(s.conn).End(ctx, run, "because"); err != nil {
			t.Errorf("end %s: %v", run, err)
		}
		if r, err := client.New(s.conn).Show(ctx, run); err != nil || r.Status != report.RunFailed || r.Error != "because" {
			t.Errorf("the report of %s: %+v, %v", run, r, err)
		}
	}
}

// TestSweepRemovesJobsThatNoWorkerCanDo: a sweep removes the jobs of runs that do
// not exist, and after the grace the jobs of a newer version. It keeps others.
func TestSweepRemovesJobsThatNoWorkerCanDo(t *testing.T) {
	s := newShelf(t)
	s.submit("open")
	s.publish("open")
	s.publish("none")
	newer := []byte{jobs.Version + 1, 0x80}
	for _, subject := range []string{"mp.job.any.open.n.1", "mp.job.any.gone.n.1", "mp.job.any.open.n.x", "mp.job.nolane.x.y.z.w"} {
		if _, err := s.conn.Request(t.Context(), &nats.Msg{Subject: subject, Data: newer}); err != nil {
			t.Fatal(err)
		}
	}
	s.sweep(orchestrator.Retention{Every: atOnce})
	if n := s.queued(); n != 2 {
		t.Errorf("before the grace %d jobs are left", n)
	}
	s.sweep(orchestrator.Retention{Every: atOnce, Grace: atOnce})
	if n := s.queued(); n != 1 {
		t.Errorf("after it %d jobs are left", n)
	}
}

func (s *shelf) queued() int {
	s.t.Helper()
	list, err := s.conn.Queue.List(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return len(list)
}
