package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// servers runs several orchestrators that serve one site. It records which ones
// have decided for each run.
type servers struct {
	s       *site
	mu      sync.Mutex
	by      map[jobs.RunID][]string
	adopted chan string // "NAME RUN": the orchestrator begins to decide for the run
}

func newServers(s *site) *servers {
	return &servers{s: s, by: map[jobs.RunID][]string{}, adopted: make(chan string, 1000)}
}

// start runs an orchestrator that serves. The returned function stops it and
// waits for it.
func (v *servers) start(name string) (stop func()) {
	v.s.t.Helper()
	ctx, cancel := context.WithCancel(v.s.ctx)
	var g errgroup.Group
	conn := v.s.connect()
	g.Go(func() error {
		return orchestrator.Serve(ctx, conn, orchestrator.ServeConfig{
			Config: orchestrator.Config{Name: name},
			Adopted: func(run jobs.RunID) {
				v.mu.Lock()
				v.by[run] = append(v.by[run], name)
				v.mu.Unlock()
				v.adopted <- name + " " + string(run)
			},
		})
	})
	stop = sync.OnceFunc(func() {
		cancel()
		if err := g.Wait(); err != nil {
			v.s.t.Errorf("%s: %v", name, err)
		}
	})
	v.s.t.Cleanup(stop)
	return stop
}

// end follows a run to its end.
func (v *servers) end(run jobs.RunID) *report.Report {
	v.s.t.Helper()
	rep, err := client.New(v.s.conn).Follow(v.s.ctx, run, client.FollowOptions{})
	if err != nil {
		v.s.t.Fatal(err)
	}
	return rep
}

// TestServeTakesSubmittedRuns: orchestrators that serve take the runs that were
// submitted before and after their start. Each run has one orchestrator.
func TestServeTakesSubmittedRuns(t *testing.T) {
	s := newSite(t, 2)
	v := newServers(s)
	const src = "name: p\nmodules: {a: {run: 'true'}, b: {needs: a, run: 'true'}}\n"
	s.submit("early", src)
	v.start("one")
	v.start("two")
	ids := []jobs.RunID{"early"}
	for i := range 12 {
		id := jobs.RunID(fmt.Sprintf("r%d", i))
		s.submit(id, src)
		ids = append(ids, id)
	}
	for _, id := range ids {
		if rep := v.end(id); rep.Status != report.RunSucceeded {
			t.Errorf("%s %s: %s", id, rep.Status, rep.Error)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, id := range ids {
		if len(v.by[id]) != 1 {
			t.Errorf("%s was decided for by %v", id, v.by[id])
		}
	}
}

// TestServeAdoptsAnOrphanedRun: an orchestrator stops in the middle of a run.
// Another one continues the run, and no module runs twice.
func TestServeAdoptsAnOrphanedRun(t *testing.T) {
	s := newSite(t, 1)
	v := newServers(s)
	stop := v.start("one")
	gate := filepath.Join(s.dir, "gate")
	s.submit("r1", fmt.Sprintf(`
name: p
modules:
  first: {run: echo ran >>first}
  waits: {needs: first, run: 'while [ ! -e %s ]; do read -r _ </dev/null || true; sleep 0.01; done; echo ran >>waits'}
  last: {needs: waits, run: echo ran >>last}
`, gate))
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
	stop()
	v.start("two")
	if got := <-v.adopted; got != "one r1" {
		t.Errorf("first: %s", got)
	}
	if got := <-v.adopted; got != "two r1" {
		t.Errorf("then: %s", got)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := follower.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "waits", "last"} {
		if data, err := os.ReadFile(filepath.Join(s.dir, name)); err != nil || string(data) != "ran\n" {
			t.Errorf("%s wrote %q, %v", name, data, err)
		}
	}
}

// TestServeDecidesForAtMostMaxRuns: runs above MaxRuns wait, and all of them end.
func TestServeDecidesForAtMostMaxRuns(t *testing.T) {
	s := newSite(t, 1)
	for i := range 5 {
		s.submit(jobs.RunID(fmt.Sprintf("r%d", i)), "name: p\nmodules: {a: {run: 'true'}}\n")
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	var mu sync.Mutex
	now, most := 0, 0
	var g errgroup.Group
	g.Go(func() error {
		return orchestrator.Serve(ctx, s.connect(), orchestrator.ServeConfig{
			MaxRuns: 1,
			Adopted: func(jobs.RunID) {
				mu.Lock()
				defer mu.Unlock()
				now++
				most = max(most, now)
			},
			Left: func(jobs.RunID, jobs.End, error) {
				mu.Lock()
				defer mu.Unlock()
				now--
			},
		})
	})
	v := newServers(s)
	for i := range 5 {
		v.end(jobs.RunID(fmt.Sprintf("r%d", i)))
	}
	cancel()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if most != 1 {
		t.Errorf("%d runs at the same time", most)
	}
}

// TestServeRemovesTheJobsOfAnEndedRun: an orchestrator died between the end of its
// run and the purge of the run's jobs. The next orchestrator that serves removes
// these jobs.
func TestServeRemovesTheJobsOfAnEndedRun(t *testing.T) {
	s := newSite(t, 0)
	s.run("name: p\nmodules: {a: {if: 'false', run: 'true'}}\n")
	stored := make(chan error, 1)
	job := &jobs.Job{Run: "r1", Lane: "any", Module: "a", Attempt: 1}
	s.conn.Queue.Publish(s.ctx, job, func(err error) { stored <- err })
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
	if runs, err := s.conn.Queue.Runs(s.ctx); err != nil || !runs["r1"] || len(runs) != 1 {
		t.Fatalf("in the queue: %v, %v", runs, err)
	}
	newServers(s).start("one")
	for {
		runs, err := s.conn.Queue.Runs(s.ctx)
		if err != nil {
			t.Fatalf("left in the queue: %v, %v", runs, err)
		}
		if len(runs) == 0 {
			return
		}
	}
}

// TestServeWaitsForTheNameOfAKilledOrchestrator: Serve waits until the entry of a
// killed orchestrator with the same name has expired. It calls Began only then.
func TestServeWaitsForTheNameOfAKilledOrchestrator(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, n *natstest.Server) {
		leases := openLeases(t, n)
		if _, err := leases.Acquire(t.Context(), "serve.s", "s"); err != nil { // it is not renewed
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		start := time.Now()
		began := make(chan time.Time, 1)
		conn := connectTo(t, n)
		var g errgroup.Group
		g.Go(func() error {
			return orchestrator.Serve(ctx, conn, orchestrator.ServeConfig{
				Config: orchestrator.Config{Name: "s"}, Began: func() { began <- time.Now() },
			})
		})
		at := <-began
		if waited := at.Sub(start); waited < leases.TTL()-time.Second || waited > leases.TTL()+2*time.Second {
			t.Errorf("it serves after %v; the entry lives for %v", waited, leases.TTL())
		}
		if h, err := leases.Holder(t.Context(), "serve.s"); err != nil || h.Holder != "s" {
			t.Errorf("the name is held by %+v, %v", h, err)
		}
		stop()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// TestServeFailsWithTheNameOfALiveOrchestrator: a live orchestrator keeps its name. A
// second one fails with kv.ErrHeld, and does not call Began.
func TestServeFailsWithTheNameOfALiveOrchestrator(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, n *natstest.Server) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		began := make(chan struct{}, 2)
		cfg := orchestrator.ServeConfig{Config: orchestrator.Config{Name: "s"}, Began: func() { began <- struct{}{} }}
		conn := connectTo(t, n)
		var g errgroup.Group
		g.Go(func() error { return orchestrator.Serve(ctx, conn, cfg) })
		<-began
		if err := orchestrator.Serve(t.Context(), connectTo(t, n), cfg); !errors.Is(err, kv.ErrHeld) {
			t.Errorf("the second ends with %v", err)
		}
		if len(began) > 0 {
			t.Error("the second has called Began")
		}
		stop()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
}

func connectTo(t *testing.T, n *natstest.Server) *broker.Conn {
	t.Helper()
	c, err := broker.Connect(t.Context(), broker.Config{URL: n.URL(), Options: n.Options(), Memory: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	c = c.WithKeys(natstest.Keys(t, 1))
	t.Cleanup(c.Close)
	return c
}

func openLeases(t *testing.T, n *natstest.Server) *kv.Leases {
	t.Helper()
	leases, err := kv.OpenLeases(t.Context(), connectTo(t, n).Conn)
	if err != nil {
		t.Fatal(err)
	}
	return leases
}
