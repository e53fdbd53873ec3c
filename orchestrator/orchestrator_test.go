package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
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
	"github.com/modpipe/modpipe/worker"
)

// site is a NATS server with workers.
type site struct {
	t    *testing.T
	ctx  context.Context
	nats *natstest.Server
	conn *broker.Conn
	dir  string
}

func newSite(t *testing.T, workers int) *site {
	t.Helper()
	s := newSiteOn(t, natstest.StartServer(t, nil))
	for i := range workers {
		s.worker(fmt.Sprintf("w%d", i+1))
	}
	return s
}

func newSiteOn(t *testing.T, n *natstest.Server) *site {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // a test fails rather than blocks
	t.Cleanup(cancel)
	s := &site{t: t, ctx: ctx, nats: n, dir: t.TempDir()}
	s.conn = s.connect()
	return s
}

func (s *site) connect() *broker.Conn {
	s.t.Helper()
	c, err := broker.Connect(s.ctx, broker.Config{URL: s.nats.URL(), Options: s.nats.Options(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c.WithKeys(natstest.Keys(s.t, 1))
}

// worker runs a worker of two slots until the test ends.
func (s *site) worker(name string) {
	s.t.Helper()
	s.workerOf(worker.Config{Name: name})
}

func (s *site) workerOf(cfg worker.Config) {
	s.t.Helper()
	s.workerOn(s.connect(), cfg)
}

func (s *site) workerOn(c *broker.Conn, cfg worker.Config) {
	s.t.Helper()
	cfg.Slots, cfg.Workspace, cfg.PassAll, cfg.Logger = 2, s.dir, true, slog.New(slog.DiscardHandler)
	w, err := worker.New(c, cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	var g errgroup.Group
	g.Go(func() error { return w.Run(ctx) })
	s.t.Cleanup(func() {
		cancel()
		_ = g.Wait() // cancelled
	})
}

func (s *site) submit(id jobs.RunID, src string) {
	s.t.Helper()
	file, err := pipeline.Parse("test.yaml", []byte(src))
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := file.Bind(nil, os.LookupEnv)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := client.New(s.conn).Submit(s.ctx, &jobs.Spec{Run: id, Pipeline: p}); err != nil {
		s.t.Fatal(err)
	}
}

// run runs a pipeline to its end and returns its report and events.
func (s *site) run(src string) (*report.Report, []report.Event) {
	s.t.Helper()
	const id = "r1"
	s.submit(id, src)
	var g errgroup.Group
	g.Go(func() error {
		_, err := orchestrator.Run(s.ctx, s.conn, id, orchestrator.Config{})
		return err
	})
	var events []report.Event
	rep, err := client.New(s.conn).Follow(s.ctx, id, client.FollowOptions{Output: true, Sink: func(e report.Event) { events = append(events, e) }})
	if err := errors.Join(err, g.Wait()); err != nil {
		s.t.Fatal(err)
	}
	return rep, events
}

func statuses(r *report.Report) string {
	var words []string
	for _, m := range r.Modules {
		words = append(words, m.Name+"="+string(m.Status))
	}
	return strings.Join(words, " ")
}

// TestRunExecutesAPipeline: modules receive results, conditions use them, and
// families are expanded. The events arrive in order, and the output of a module
// arrives before its end.
func TestRunExecutesAPipeline(t *testing.T) {
	s := newSite(t, 2)
	rep, events := s.run(`
name: p
modules:
  list: {run: 'echo "all=[1,2,3]" >>"$MODPIPE_OUTPUT"', outputs: [all]}
  work:
    needs: list
    matrix: {x: "${{ fromJSON(needs.list.outputs.all) }}"}
    run: for i in 1 2 3; do echo "$MODPIPE_MATRIX_X line $i"; done; printf 'no end'
  none: {needs: list, if: "needs.list.outputs.all == '[]'", run: "true"}
  merge: {needs: [work, {module: none, optional: true}], run: "true"}
`)
	want := "list=succeeded work (x=1)=succeeded work (x=2)=succeeded work (x=3)=succeeded none=skipped merge=succeeded"
	if got := statuses(rep); got != want || rep.Status != report.RunSucceeded {
		t.Errorf("%s, %s", rep.Status, got)
	}
	lines := map[string][]string{}
	started, ended := map[string]bool{}, map[string]bool{}
	number := uint64(0) // output has none: the log of the run does not give it
	for i, e := range events {
		if e.Event != report.EventModuleOutput {
			number++
		}
		if (e.Event == report.EventModuleOutput) != (e.Seq == 0) || e.Seq != 0 && e.Seq != number {
			t.Fatalf("event %d, %s, has number %d", i+1, e.Event, e.Seq)
		}
		switch e.Event {
		case report.EventModuleOutput:
			if !started[e.Module] || ended[e.Module] {
				t.Errorf("%s writes %q before its start or after its end", e.Module, e.Text)
			}
			lines[e.Module] = append(lines[e.Module], e.Text)
		case report.EventModuleStarted:
			started[e.Module] = true
		case report.EventModuleEnded:
			ended[e.Module] = true
		default:
		}
	}
	if got := lines["work (x=2)"]; !slices.Equal(got, []string{"2 line 1", "2 line 2", "2 line 3", "no end"}) {
		t.Errorf("output of a member: %q", got)
	}
	if e := events[len(events)-1]; e.Event != report.EventRunEnded || e.Status != "succeeded" {
		t.Errorf("the last event is %+v", e)
	}
	again, err := client.New(s.conn).Show(s.ctx, "r1")
	if err != nil || statuses(again) != want {
		t.Errorf("read again: %v %v", again, err)
	}
}

// TestLargeOutputsAreFetchedForDecisions: outputs that are stored by reference are
// fetched for conditions, axes and texts.
func TestLargeOutputsAreFetchedForDecisions(t *testing.T) {
	s := newSite(t, 1)
	rep, _ := s.run(`
name: p
modules:
  big: {run: '{ printf big=; head -c 300000 /dev/zero | tr "\0" x; echo; } >>"$MODPIPE_OUTPUT"', outputs: [big]}
  reads: {needs: big, if: len(needs.big.outputs.big) == 300000, stdin: "${{ needs.big.outputs.big }}", run: 'test $(wc -c) = 300000'}
`)
	if rep.Status != report.RunSucceeded || statuses(rep) != "big=succeeded reads=succeeded" {
		t.Errorf("%s: %s, %s", rep.Status, rep.Error, statuses(rep))
	}
	if _, large := rep.Modules[0].Outputs["big"].(report.LargeOutput); !large {
		t.Errorf("an output of 300,000 bytes has the type %T in the report", rep.Modules[0].Outputs["big"])
	}
	if _, err := s.conn.APIOnce(s.ctx, "STREAM.PURGE.OBJ_mp-blobs", nil); err != nil {
		t.Fatal(err)
	}
	rep, err := client.New(s.conn).Show(s.ctx, jobs.RunID(rep.Run))
	if err != nil {
		t.Fatalf("a report without an output that is gone: %v", err)
	}
	if len(rep.Warnings) != 1 || !strings.HasPrefix(rep.Warnings[0], "big: its outputs cannot be read: ") {
		t.Errorf("warnings: %q", rep.Warnings)
	}
}

// TestTakeoverContinuesTheRun: an orchestrator continues the run of another one,
// which stops with ErrSuperseded. No module runs twice.
func TestTakeoverContinuesTheRun(t *testing.T) {
	s := newSite(t, 1)
	gate := filepath.Join(s.dir, "gate")
	s.submit("r1", fmt.Sprintf(`
name: p
modules:
  first: {run: echo ran >>first}
  waits: {needs: first, run: 'while [ ! -e %s ]; do read -r _ </dev/null || true; sleep 0.01; done; echo ran >>waits'}
  last: {needs: waits, run: echo ran >>last}
`, gate))
	var first errgroup.Group
	first.Go(func() error {
		_, err := orchestrator.Run(s.ctx, s.conn, "r1", orchestrator.Config{Name: "first"})
		return err
	})
	running := make(chan struct{})
	var follower errgroup.Group
	follower.Go(func() error {
		_, err := client.New(s.conn).Follow(s.ctx, "r1", client.FollowOptions{Sink: func(e report.Event) {
			if e.Event == report.EventModuleStarted && e.Module == "waits" {
				close(running)
			}
		}})
		return err
	})
	<-running
	var second errgroup.Group
	lease := s.seize("r1", "second")
	second.Go(func() error {
		end, err := orchestrator.Run(s.ctx, s.connect(), "r1", orchestrator.Config{Name: "second", Lease: lease})
		if err == nil && end.Status != report.RunSucceeded {
			err = fmt.Errorf("the run ended %s: %s", end.Status, end.Error)
		}
		return err
	})
	if err := first.Wait(); !errors.Is(err, orchestrator.ErrSuperseded) {
		t.Errorf("the first orchestrator stopped with %v", err)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(second.Wait(), follower.Wait()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "waits", "last"} {
		data, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil || string(data) != "ran\n" {
			t.Errorf("%s wrote %q, %v", name, data, err)
		}
	}
}

// seize acquires a lease while its holder is alive. It simulates a jump of the
// server's clock.
func (s *site) seize(run jobs.RunID, name string) *kv.RunLease {
	s.t.Helper()
	bucket, err := s.conn.FindBucket(s.ctx, "mp-leases")
	if err != nil {
		s.t.Fatal(err)
	}
	for {
		if err := bucket.Delete(s.ctx, string(run)); err != nil {
			s.t.Fatal(err)
		}
		lease, err := orchestrator.Acquire(s.ctx, s.conn, run, name)
		if err == nil {
			return lease
		}
		if !errors.Is(err, kv.ErrHeld) { // its holder was quicker
			s.t.Fatal(err)
		}
	}
}

// TestRunIsRefusedWhileAnotherOrchestratorDecides: one orchestrator decides for a
// run at a time. An orchestrator that stops releases the lease without a delay.
func TestRunIsRefusedWhileAnotherOrchestratorDecides(t *testing.T) {
	s := newSite(t, 0)
	s.submit("r1", "name: p\nmodules: {a: {run: 'true'}}\n")
	ctx, stop := context.WithCancel(s.ctx)
	lease, err := orchestrator.Acquire(ctx, s.conn, "r1", "first")
	if err != nil {
		t.Fatal(err)
	}
	var first errgroup.Group
	first.Go(func() error {
		_, err := orchestrator.Run(ctx, s.conn, "r1", orchestrator.Config{Name: "first", Lease: lease})
		return err
	})
	if _, err := orchestrator.Run(s.ctx, s.conn, "r1", orchestrator.Config{Name: "second"}); !errors.Is(err, kv.ErrHeld) || !strings.Contains(err.Error(), "first") {
		t.Errorf("a second orchestrator beside the first: %v", err)
	}
	stop()
	if err := first.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("the first stopped with %v", err)
	}
	if _, err := orchestrator.Acquire(s.ctx, s.conn, "r1", "second"); err != nil {
		t.Errorf("after the first has stopped: %v", err)
	}
}

// cancelled runs an orchestrator for a run, and cancels the run when its first
// module has started.
func (s *site) cancelled(run jobs.RunID) *report.Report {
	s.t.Helper()
	var g errgroup.Group
	g.Go(func() error {
		_, err := orchestrator.Run(s.ctx, s.conn, run, orchestrator.Config{})
		return err
	})
	rep, err := client.New(s.conn).Follow(s.ctx, run, client.FollowOptions{Output: true, Sink: func(e report.Event) {
		if e.Event != report.EventModuleStarted {
			return
		}
		if err := client.New(s.conn).Cancel(s.ctx, run, jobs.Cancel{By: "test", Reason: "enough"}); err != nil {
			s.t.Error(err)
		}
	}})
	if err := errors.Join(err, g.Wait()); err != nil {
		s.t.Fatal(err)
	}
	return rep
}

// TestCancelStopsARunningModule: a cancellation stops a running process. Cancel
// returns ErrEnded for a run that has ended, and ErrNotFound for an unknown run.
func TestCancelStopsARunningModule(t *testing.T) {
	s := newSite(t, 1)
	s.submit("r1", "name: p\nmodules:\n  long: {run: sleep 1000}\n  after: {needs: long, run: 'true'}\n")
	rep := s.cancelled("r1")
	if rep.Status != report.RunCancelled || statuses(rep) != "long=cancelled after=cancelled" {
		t.Errorf("%s: %s", rep.Status, statuses(rep))
	}
	if err := client.New(s.conn).Cancel(s.ctx, "r1", jobs.Cancel{}); !errors.Is(err, client.ErrEnded) {
		t.Errorf("cancelling an ended run: %v", err)
	}
	if err := client.New(s.conn).Cancel(s.ctx, "other", jobs.Cancel{}); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("cancelling an unknown run: %v", err)
	}
}

// TestStrayRecordsOfUsersDoNotCorruptARun: an unreadable cancellation and an
// unreadable second specification do not end the run. A valid cancellation still
// cancels it.
func TestStrayRecordsOfUsersDoNotCorruptARun(t *testing.T) {
	s := newSite(t, 1)
	s.submit("r1", "name: p\nmodules:\n  long: {run: sleep 1000}\n")
	for _, bad := range []string{"", "text", "\x01\xc1"} {
		for _, subject := range []string{"mp.run.r1.cancel", "mp.run.r1.spec"} {
			if _, err := s.conn.Request(s.ctx, &nats.Msg{Subject: subject, Data: []byte(bad)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	rep := s.cancelled("r1")
	if rep.Status != report.RunCancelled || len(rep.Warnings) != 1 || !strings.Contains(rep.Warnings[0], "a cancellation that cannot be read") {
		t.Errorf("%s, with the warnings %q", rep.Status, rep.Warnings)
	}
}

// TestSubmitRefusesAUsedID: Submit returns ErrExists for the id of another run.
func TestSubmitRefusesAUsedID(t *testing.T) {
	s := newSite(t, 0)
	const src = "name: p\nmodules: {a: {run: 'true'}}\n"
	s.submit("r1", src)
	err := client.New(s.conn).Submit(s.ctx, &jobs.Spec{Run: "r1", Pipeline: &pipeline.Pipeline{Name: "q"}})
	if !errors.Is(err, client.ErrExists) {
		t.Errorf("submitting an id again: %v", err)
	}
}

// TestEndedRunLeavesNoJobs: a run that has ended has no job in the queue.
func TestEndedRunLeavesNoJobs(t *testing.T) {
	s := newSite(t, 2)
	s.run(`
name: p
modules:
  a: {run: exit 1}
  b: {matrix: {x: [1, 2, 3, 4, 5, 6, 7, 8, 9]}, run: sleep 100}
`)
	js, err := jetstream.New(s.nats.Connect(s.t))
	if err != nil {
		t.Fatal(err)
	}
	queue, err := js.Stream(s.ctx, "MP_JOBS")
	if err != nil {
		t.Fatal(err)
	}
	if n := queue.CachedInfo().State.Msgs; n != 0 {
		t.Errorf("%d jobs are left", n)
	}
}
