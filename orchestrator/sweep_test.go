package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/natstest"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/pipeline"
)

// shelf is a NATS server with logs of runs on it that nobody executes.
type shelf struct {
	t    *testing.T
	conn *broker.Conn
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	t.Parallel()
	s := natstest.InProcess(t)
	c, err := broker.Connect(t.Context(), broker.Config{Options: s.Options()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &shelf{t, c}
}

// atOnce is a retention that a test need not wait for.
const atOnce = time.Nanosecond

func (s *shelf) submit(run jobs.RunID) {
	s.t.Helper()
	spec := &jobs.Spec{Run: run, Pipeline: &pipeline.Pipeline{Name: "p"}}
	if err := orchestrator.Submit(s.t.Context(), s.conn, spec); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelf) ended(run jobs.RunID) {
	s.t.Helper()
	s.submit(run)
	if _, err := s.conn.Append(s.t.Context(), run, "", 0, jobs.Record{End: &jobs.End{Status: jobs.RunSucceeded}}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelf) sweep(r orchestrator.Retention) orchestrator.Swept {
	s.t.Helper()
	done, err := orchestrator.Sweep(s.t.Context(), s.conn, r)
	if err != nil {
		s.t.Fatal(err)
	}
	return done
}

// left checks which runs have a log.
func (s *shelf) left(want ...jobs.RunID) {
	s.t.Helper()
	runs, err := s.conn.Runs(s.t.Context(), 0)
	if err != nil {
		s.t.Fatal(err)
	}
	got := map[jobs.RunID]bool{}
	for i := range runs {
		got[runs[i].Spec.Run] = true
	}
	for _, run := range want {
		if !got[run] {
			s.t.Errorf("the log of %s is gone", run)
		}
	}
	if len(got) != len(want) {
		s.t.Errorf("what is left: %v, want %v", got, want)
	}
}

// TestSweepByAge: a log goes when its run ended long ago, and not before; a
// run that has not ended never goes. The id stays taken, and is free in the
// end.
func TestSweepByAge(t *testing.T) {
	s := newShelf(t)
	s.ended("old")
	s.submit("open")
	for _, kept := range []orchestrator.Retention{
		{Every: atOnce},
		{Every: atOnce, Keep: time.Hour, Grace: atOnce},
		{Every: atOnce, Keep: atOnce, Grace: time.Hour},
	} {
		if done := s.sweep(kept); done.Dropped != 0 || !done.Ours {
			t.Errorf("%+v: %+v", kept, done)
		}
	}
	if done := s.sweep(orchestrator.Retention{Every: atOnce, Keep: atOnce, Grace: atOnce}); done.Dropped != 1 {
		t.Errorf("%+v", done)
	}
	s.left("open")
	err := orchestrator.Submit(t.Context(), s.conn, &jobs.Spec{Run: "old", Pipeline: &pipeline.Pipeline{Name: "p"}})
	if !errors.Is(err, orchestrator.ErrExists) {
		t.Errorf("an id is used again: %v", err)
	}
	var dropped *broker.DroppedError
	for what, ask := range map[string]func() error{
		"report": func() error { _, err := orchestrator.Report(t.Context(), s.conn, "old"); return err },
		"cancel": func() error { return orchestrator.Cancel(t.Context(), s.conn, "old", jobs.Cancel{}) },
		"again":  func() error { _, err := orchestrator.Again(t.Context(), s.conn, "old"); return err },
		"follow": func() error {
			_, err := orchestrator.Follow(t.Context(), s.conn, "old", true, func(jobs.Event) {})
			return err
		},
		"run": func() error {
			_, err := orchestrator.Run(t.Context(), s.conn, "old", orchestrator.Config{})
			return err
		},
	} {
		if err := ask(); !errors.As(err, &dropped) || dropped.End.Status != jobs.RunSucceeded {
			t.Errorf("%s: %v", what, err)
		}
	}
	if done := s.sweep(orchestrator.Retention{Every: atOnce}); done.Forgotten != 0 {
		t.Errorf("an end goes at once: %+v", done)
	}
	if done := s.sweep(orchestrator.Retention{Every: atOnce, Ends: atOnce}); done.Forgotten != 1 {
		t.Errorf("an end never goes: %+v", done)
	}
	s.submit("old")
}

// TestSweepSpares: what a worker that lives says it runs, and what somebody
// has the lease of, is left alone, however old it is.
func TestSweepSpares(t *testing.T) {
	s := newShelf(t)
	for _, run := range []jobs.RunID{"worked", "led", "free"} {
		s.ended(run)
	}
	registry, err := kv.OpenRegistry(t.Context(), s.conn, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	w := jobs.Worker{Name: "w", Running: []jobs.RunningEntry{{Run: "worked", Token: "m", Attempt: 1}}}
	if err := registry.Register(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	lease, err := orchestrator.Acquire(t.Context(), s.conn, "led", "o")
	if err != nil {
		t.Fatal(err)
	}
	now := orchestrator.Retention{Every: atOnce, Keep: atOnce, Grace: atOnce}
	s.sweep(now)
	s.left("worked", "led")
	now.Keep, now.Bytes = time.Hour, 1
	s.sweep(now)
	s.left("worked", "led")
	if err := errors.Join(registry.Leave(t.Context(), "w"), lease.Release(t.Context())); err != nil {
		t.Fatal(err)
	}
	s.sweep(now)
	s.left()
}

// TestSweepBySize: where room is short the oldest go first, down to where
// there is some; what has only just ended stays whatever it takes.
func TestSweepBySize(t *testing.T) {
	s := newShelf(t)
	for i := range 100 {
		s.ended(jobs.RunID(fmt.Sprintf("r%02d", i)))
	}
	usage, err := s.conn.RunsUsage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	limit := usage.Bytes
	if done := s.sweep(orchestrator.Retention{Every: atOnce, Bytes: limit}); done.Dropped != 0 {
		t.Errorf("within the grace: %+v", done)
	}
	if done := s.sweep(orchestrator.Retention{Every: atOnce, Grace: atOnce, Bytes: 2 * limit}); done.Dropped != 0 {
		t.Errorf("with room: %+v", done)
	}
	s.sweep(orchestrator.Retention{Every: atOnce, Grace: atOnce, Bytes: limit})
	usage, err = s.conn.RunsUsage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if share := float64(usage.Bytes) / float64(limit); share > 0.6 || share < 0.3 {
		t.Errorf("%.2f of the limit is used", share)
	}
	runs, err := s.conn.Runs(t.Context(), 0)
	if err != nil || len(runs) == 0 {
		t.Fatal(err, len(runs))
	}
	for i := range runs { // the newest first
		if want := jobs.RunID(fmt.Sprintf("r%02d", 99-i)); runs[i].Spec.Run != want {
			t.Errorf("%s is left in place of %s", runs[i].Spec.Run, want)
		}
	}
}

// TestSweepsTakeTurns: of many at once one sweeps, and the next only after a
// while.
func TestSweepsTakeTurns(t *testing.T) {
	s := newShelf(t)
	var g errgroup.Group
	turns := make(chan orchestrator.Swept, 8)
	for range cap(turns) {
		g.Go(func() error {
			done, err := orchestrator.Sweep(t.Context(), s.conn, orchestrator.Retention{})
			turns <- done
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	ours := 0
	for range cap(turns) {
		if (<-turns).Ours {
			ours++
		}
	}
	if ours != 1 {
		t.Errorf("%d have swept", ours)
	}
	if s.sweep(orchestrator.Retention{Every: time.Minute}).Ours {
		t.Error("it is swept too often")
	}
	if !s.sweep(orchestrator.Retention{Every: atOnce}).Ours {
		t.Error("it is never swept again")
	}
}

// TestServeSweeps: who serves drops what is old while runs go on.
func TestServeSweeps(t *testing.T) {
	s := newSite(t, 1)
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	var g errgroup.Group
	g.Go(func() error {
		return orchestrator.Serve(ctx, s.conn, orchestrator.ServeConfig{
			Config:    orchestrator.Config{Name: "one"},
			Retention: orchestrator.Retention{Keep: atOnce, Grace: atOnce, Every: 50 * time.Millisecond},
		})
	})
	for n := range 5 {
		s.submit(jobs.RunID(fmt.Sprintf("r%d", n)), "name: p\nmodules: {a: {run: 'true'}}\n")
	}
	for n := range 5 {
		gone := s.dropped(jobs.RunID(fmt.Sprintf("r%d", n)))
		if gone.End.Status != jobs.RunSucceeded {
			t.Errorf("run %d ended %s", n, gone.End.Status)
		}
	}
	cancel()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// dropped waits until the log of a run is.
func (s *site) dropped(run jobs.RunID) *broker.DroppedError {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var gone *broker.DroppedError
		if err := s.conn.Dropped(s.ctx, run); errors.As(err, &gone) {
			return gone
		} else if err != nil {
			s.t.Fatal(err)
		}
		select {
		case <-s.ctx.Done():
			s.t.Fatalf("%s is still there", run)
		case <-tick.C:
		}
	}
}
