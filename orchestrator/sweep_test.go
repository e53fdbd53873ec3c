package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// shelf is a NATS server with logs of runs. No worker executes the runs.
type shelf struct {
	t    *testing.T
	nats *natstest.Server
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
	c = c.WithKeys(natstest.Keys(t, 1))
	t.Cleanup(c.Close)
	return &shelf{t, s, c}
}

// atOnce is a retention that has passed immediately.
const atOnce = time.Nanosecond

func (s *shelf) submit(run jobs.RunID) {
	s.t.Helper()
	spec := &jobs.Spec{Run: run, Pipeline: &pipeline.Pipeline{Name: "p"}}
	if err := client.New(s.conn).Submit(s.t.Context(), spec); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelf) ended(run jobs.RunID) {
	s.t.Helper()
	s.submit(run)
	if _, err := s.conn.Runs.Append(s.t.Context(), run, "", 0, jobs.Record{End: &jobs.End{Status: report.RunSucceeded}}); err != nil {
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
	runs, err := s.conn.Runs.List(s.t.Context(), broker.Page{})
	if err != nil {
		s.t.Fatal(err)
	}
	got := map[jobs.RunID]bool{}
	for i := range runs {
		got[jobs.RunID(runs[i].Run.Run)] = true
	}
	for _, run := range want {
		if !got[run] {
			s.t.Errorf("the log of %s is gone", run)
		}
	}
	if len(got) != len(want) {
		s.t.Errorf("logs left: %v, want %v", got, want)
	}
}

// TestSweepDropsLogsByAge: a sweep drops the log of a run that ended long ago, and
// no other log. The id of the run stays in use until the end of the run is
// removed, too.
func TestSweepDropsLogsByAge(t *testing.T) {
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
	err := client.New(s.conn).Submit(t.Context(), &jobs.Spec{Run: "old", Pipeline: &pipeline.Pipeline{Name: "p"}})
	if !errors.Is(err, client.ErrExists) {
		t.Errorf("an id is used again: %v", err)
	}
	var dropped *broker.DroppedError
	for what, ask := range map[string]func() error{
		"report": func() error { _, err := client.New(s.conn).Show(t.Context(), "old"); return err },
		"cancel": func() error { return client.New(s.conn).Cancel(t.Context(), "old", jobs.Cancel{}) },
		"again": func() error {
			_, err := client.New(s.conn).Retry(t.Context(), "old", client.Redo{})
			return err
		},
		"follow": func() error {
			_, err := client.New(s.conn).Follow(t.Context(), "old", client.FollowOptions{Output: true})
			return err
		},
		"run": func() error {
			_, err := orchestrator.Run(t.Context(), s.conn, "old", orchestrator.Config{})
			return err
		},
	} {
		if err := ask(); !errors.As(err, &dropped) || dropped.End.Status != report.RunSucceeded {
			t.Errorf("%s: %v", what, err)
		}
	}
	if done := s.sweep(orchestrator.Retention{Every: atOnce}); done.Forgotten != 0 {
		t.Errorf("an end is removed too early: %+v", done)
	}
	if done := s.sweep(orchestrator.Retention{Every: atOnce, Ends: atOnce}); done.Forgotten != 1 {
		t.Errorf("an end is not removed: %+v", done)
	}
	s.submit("old")
}

// TestSweepKeepsRunsInUse: a sweep keeps the logs of the runs that a live worker
// executes, and of the runs whose leases are held, at any age.
func TestSweepKeepsRunsInUse(t *testing.T) {
	s := newShelf(t)
	for _, run := range []jobs.RunID{"worked", "led", "free"} {
		s.ended(run)
	}
	registry, err := kv.OpenRegistry(t.Context(), s.conn.Conn, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	w := jobs.WorkerInfo{Name: "w", Running: []jobs.RunningEntry{{Run: "worked", Module: "m", Attempt: 1}}}
	if err := registry.Register(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	lease, err := orchestrator.Acquire(t.Context(), s.conn, "led", "o")
	if err != nil {
		t.Fatal(err)
	}
	r := orchestrator.Retention{Every: atOnce, Keep: atOnce, Grace: atOnce}
	s.sweep(r)
	s.left("worked", "led")
	r.Keep, r.Bytes = time.Hour, 1
	s.sweep(r)
	s.left("worked", "led")
	if err := errors.Join(registry.Leave(t.Context(), "w"), lease.Release(t.Context())); err != nil {
		t.Fatal(err)
	}
	s.sweep(r)
	s.left()
}

// TestSweepDropsTheOldestLogsWhenSpaceIsShort: a sweep drops the oldest logs when
// space is short, until there is room. It keeps runs that have just ended.
func TestSweepDropsTheOldestLogsWhenSpaceIsShort(t *testing.T) {
	s := newShelf(t)
	for i := range 100 {
		s.ended(jobs.RunID(fmt.Sprintf("r%02d", i)))
	}
	usage, err := s.conn.Runs.Usage(t.Context())
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
	usage, err = s.conn.Runs.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if share := float64(usage.Bytes) / float64(limit); share > 0.6 || share < 0.3 {
		t.Errorf("%.2f of the limit is used", share)
	}
	runs, err := s.conn.Runs.List(t.Context(), broker.Page{})
	if err != nil || len(runs) == 0 {
		t.Fatal(err, len(runs))
	}
	for i := range runs { // the newest first
		if want := fmt.Sprintf("r%02d", 99-i); runs[i].Run.Run != want {
			t.Errorf("%s is left in place of %s", runs[i].Run.Run, want)
		}
	}
}

// value stores n bytes that depend on seed.
func (s *shelf) value(seed uint64, n int) jobs.Value {
	s.t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	text := make([]byte, n)
	for i := range text {
		text[i] = 'a' + byte(r.UintN(26))
	}
	o, err := s.conn.Values.Put(s.t.Context(), jobs.OutputsOf(map[string]string{"o": string(text)}))
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// readable reports which values can still be read.
func (s *shelf) readable(values ...jobs.Value) (readable []bool) {
	s.t.Helper()
	for _, o := range values {
		_, err := s.conn.Values.Outputs(s.t.Context(), o)
		if err != nil && !errors.Is(err, broker.ErrNotFound) {
			s.t.Fatal(err)
		}
		readable = append(readable, err == nil)
	}
	return readable
}

// fill limits the store of large values so that the given share of the limit is
// used.
func (s *shelf) fill(share float64) {
	s.t.Helper()
	s.limit("OBJ_mp-blobs", share)
}

// limit is fill for any stream.
func (s *shelf) limit(stream string, share float64) {
	s.t.Helper()
	js, err := jetstream.New(s.nats.Connect(s.t))
	if err != nil {
		s.t.Fatal(err)
	}
	st, err := js.Stream(s.t.Context(), stream)
	if err != nil {
		s.t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.MaxBytes = int64(float64(st.CachedInfo().State.Bytes) / share)
	if _, err := js.UpdateStream(s.t.Context(), cfg); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelf) append(run jobs.RunID, cell jobs.ModuleID, rec jobs.Record) {
	s.t.Helper()
	if _, err := s.conn.Runs.Append(s.t.Context(), run, cell, 0, rec); err != nil {
		s.t.Fatal(err)
	}
}

// now is a retention that sweeps everything that is not needed.
var now = orchestrator.Retention{Every: atOnce, Grace: atOnce}

// TestSweepDropsTheOldestLargeValues: when the store of large values is nearly full,
// a sweep drops the values whose last storing is the longest ago, until there is
// room. With room, and within the grace, it drops none.
func TestSweepDropsTheOldestLargeValues(t *testing.T) {
	s := newShelf(t)
	var all []jobs.Value
	for i := range uint64(50) {
		all = append(all, s.value(i, 100<<10))
	}
	s.value(0, 100<<10) // stored again: now the youngest
	s.fill(0.7)
	if done := s.sweep(now); done.Blobs != 0 {
		t.Errorf("with room: %+v", done)
	}
	s.fill(0.9)
	if done := s.sweep(orchestrator.Retention{Every: atOnce}); done.Blobs != 0 {
		t.Errorf("within the grace: %+v", done)
	}
	done := s.sweep(now)
	if done.Blobs < 15 || done.Blobs > 35 { // a third of them, in steps of 16
		t.Errorf("%+v", done)
	}
	want := slices.Repeat([]bool{true}, 50)
	for i := range done.Blobs {
		want[i+1] = false
	}
	if diff := cmp.Diff(want, s.readable(all...)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	usage, err := s.conn.Values.Usage(t.Context())
	if err != nil || float64(usage.Bytes) > 0.6*float64(usage.MaxBytes) {
		t.Errorf("%+v, %v", usage, err)
	}
	if again := s.value(1, 100<<10); !s.readable(again)[0] {
		t.Error("a dropped value cannot be stored again")
	}
}

// TestSweepKeepsLargeValuesInUse: a sweep keeps the large values that a run without
// an end refers to, and those that a worker may still commit.
func TestSweepKeepsLargeValuesInUse(t *testing.T) {
	s := newShelf(t)
	long := func(seed uint64) map[string]string { // more than a record holds
		return map[string]string{"l": must(s.conn.Values.Outputs(t.Context(), s.value(seed, 900<<10)))["o"]}
	}
	ended, result, kept := s.value(1, 100<<10), s.value(2, 100<<10), s.value(3, 100<<10)
	s.ended("ended")
	s.append("ended", "m", jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded, Outputs: ended}})
	spec := &jobs.Spec{Run: "open", Pipeline: &pipeline.Pipeline{Name: "p"}, Labels: long(4), Kept: []jobs.Kept{{Module: "k", Outputs: kept}}}
	if err := client.New(s.conn).Submit(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	s.append("open", "m", jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded, Outputs: result}})
	s.fill(0.9)
	s.publish("open")
	young := s.value(5, 100<<10)
	s.fill(0.9)
	s.sweep(now)
	if diff := cmp.Diff([]bool{false, true, true, true}, s.readable(ended, result, kept, young)); diff != "" {
		t.Errorf("ended, result, kept, young (-want +got):\n%s", diff)
	}
	if runs, err := s.conn.Runs.List(t.Context(), broker.Page{}); err != nil || len(runs) != 2 {
		t.Errorf("a specification is gone: %d runs, %v", len(runs), err)
	}
	s.append("open", "", jobs.Record{End: &jobs.End{Status: report.RunCancelled}})
	if err := s.conn.Queue.PurgeRun(t.Context(), "open"); err != nil {
		t.Fatal(err)
	}
	s.fill(0.9)
	s.sweep(now)
	if diff := cmp.Diff([]bool{false, false}, s.readable(ended, result)); diff != "" {
		t.Errorf("after the end (-want +got):\n%s", diff)
	}
	spec.Run, spec.RetryOf, spec.Labels = "again", "open", nil
	spec.Kept[0].Outputs = result
	if err := client.New(s.conn).Submit(t.Context(), spec); !errors.Is(err, broker.ErrNotFound) || !strings.Contains(err.Error(), "the result of k") {
		t.Errorf("a run that keeps a dropped result: %v", err)
	}
}

// TestOneLongJobKeepsNoOtherRunsValues: while a job has been in the queue for long,
// the store fills with what runs leave that begin and end during this time. A sweep makes
// room. It keeps what no log refers to: the job may be about to commit it.
func TestOneLongJobKeepsNoOtherRunsValues(t *testing.T) {
	s := newShelf(t)
	s.submit("long")
	s.publish("long")
	uncommitted := s.value(1, 100<<10)
	var left []jobs.Value
	for i := range uint64(5) {
		run := jobs.RunID(fmt.Sprint("short", i))
		left = append(left, s.value(10+i, 100<<10))
		s.ended(run)
		s.append(run, "m", jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded, Outputs: left[i]}})
	}
	s.fill(0.95)
	if done := s.sweep(now); done.Blobs == 0 {
		t.Error("nothing was dropped")
	}
	if !s.readable(uncommitted)[0] {
		t.Error("what the job may commit is gone")
	}
}

// publish puts a job into the queue.
func (s *shelf) publish(run jobs.RunID) {
	s.t.Helper()
	if err := s.conn.Queue.EnsureLane(s.t.Context(), "any"); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	s.conn.Queue.Publish(s.t.Context(), &jobs.Job{Run: run, Lane: "any", Module: "m", Attempt: 1}, func(err error) { done <- err })
	if err := <-done; err != nil {
		s.t.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestSweepsTakeTurns: of many concurrent calls one sweeps. The next sweep is
// refused before the interval has passed.
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
		t.Error("a sweep within the interval is not refused")
	}
	if !s.sweep(orchestrator.Retention{Every: atOnce}).Ours {
		t.Error("a sweep after the interval is refused")
	}
}

// TestServeDropsOldRuns: an orchestrator that serves drops old logs while other
// runs go on.
func TestServeDropsOldRuns(t *testing.T) {
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
		if gone.End.Status != report.RunSucceeded {
			t.Errorf("run %d ended %s", n, gone.End.Status)
		}
	}
	cancel()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// dropped waits until the log of a run is dropped.
func (s *site) dropped(run jobs.RunID) *broker.DroppedError {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var gone *broker.DroppedError
		if err := s.conn.Runs.Dropped(s.ctx, run); errors.As(err, &gone) {
			return gone
		} else if err != nil {
			s.t.Fatal(err)
		}
		select {
		case <-s.ctx.Done():
			s.t.Fatalf("the log of %s is not dropped", run)
		case <-tick.C:
		}
	}
}
