package orchestrator_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestForgedRecordsDecideNothing: a program that may write to all cells writes
// outcomes while modules wait and run. The module that fails has failed, before and
// after a takeover, for readers with the key and without it. The log rejects what is
// forged before the end, and the third record in one cell is reported.
func TestForgedRecordsDecideNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	s.submit("r1", `
name: p
modules:
  a: {run: 'echo a >>marks; until test -e may-end; do sleep 0.02; done; exit 3'}
  b: {needs: [a], run: 'echo b >>marks'}
`)
	forger, err := broker.Connect(s.ctx, broker.Config{URL: s.nats.URL(), Options: s.nats.Options(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(forger.Close)
	var forged []uint64
	forge := func(cell jobs.ModuleID, rec jobs.Record) {
		t.Helper()
		for {
			last, err := forger.Runs.Last(s.ctx, "r1", cell) // 0 for an empty cell
			if err != nil && !errors.Is(err, broker.ErrNotFound) {
				t.Fatal(err)
			}
			seq, err := forger.Runs.Append(s.ctx, "r1", cell, last.Sequence, rec)
			if err == nil {
				forged = append(forged, seq)
				return
			}
			if !errors.Is(err, broker.ErrConflict) {
				t.Fatal(err)
			}
		}
	}
	success := jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded}}
	logged := natstest.NewLog()
	lead := func(ctx context.Context) error {
		_, err := orchestrator.Run(ctx, s.conn, "r1", orchestrator.Config{Name: "o", Logger: logged.Logger()})
		return err
	}
	first, leave := context.WithCancel(s.ctx)
	var g errgroup.Group
	g.Go(func() error {
		if err := lead(first); !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	})
	s.until("a to run", func() bool { return len(s.marks()) == 1 })
	forge("a", success)
	forge("b", jobs.Record{Outcome: &jobs.Outcome{Status: report.AttemptSkipped, Reason: "forged"}})
	logged.Await(t, "skipped a stray record")
	leave()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	forge("a", success)
	g.Go(func() error { return lead(s.ctx) })
	forge("a", success)
	logged.Await(t, "mp.run.r1.mod.a")
	s.touch("may-end")
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*broker.Conn{"with the key": s.conn, "without keys": forger, "with another key": forger.WithKeys(natstest.Keys(t, 2))} {
		shown, err := client.New(c).Show(s.ctx, "r1")
		if err != nil {
			t.Fatal(err)
		}
		followed, err := client.New(c).Follow(s.ctx, "r1", client.FollowOptions{Output: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, rep := range []*report.Report{shown, followed} {
			if got := statuses(rep); rep.Status != report.RunFailed || got != "a=failed b=dependency_failed" || *rep.Modules[0].Attempts[0].ExitCode != 3 {
				t.Errorf("%s: the run %s: %s", name, rep.Status, got)
			}
		}
	}
	var rejected []uint64
	log, err := s.conn.Runs.Read(s.ctx, "r1")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range log {
		if x := e.Record.Rejected; x != nil {
			rejected = append(rejected, x.Sequences...)
		}
	}
	slices.Sort(rejected)
	if slices.Sort(forged); !slices.Equal(slices.Compact(rejected), forged) {
		t.Errorf("rejected %v, want %v", rejected, forged)
	}
	if text := logged.Text(); strings.Count(text, "a program forges records") != 1 {
		t.Errorf("the attack is reported %d times:\n%s", strings.Count(text, "a program forges records"), text)
	}
	if marks := s.marks(); len(marks) != 1 {
		t.Errorf("ran %v", marks)
	}
}

// TestRunOfAnotherKeyIsLeft: an orchestrator without the signing key of a run neither
// decides for it nor takes its lease. One that has the key as a further one does. Runs
// that were begun without keys are left as well.
func TestRunOfAnotherKeyIsLeft(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		c, err := broker.Connect(ctx, broker.Config{Options: s.Options(), Memory: true, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		one, two := natstest.Keys(t, 1), natstest.Keys(t, 2)
		submit := func(run jobs.RunID, key string) {
			p := &pipeline.Pipeline{Name: "p", Modules: []*pipeline.Module{{Name: "m", Token: "m", Slots: 1, Func: &pipeline.Func{Name: "f"}}}}
			if err := client.New(c).Submit(ctx, &jobs.Spec{Run: run, Pipeline: p}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Runs.Append(ctx, run, "", 0, jobs.Record{Takeover: &jobs.Takeover{Epoch: 1, Orchestrator: "laptop-1", Key: key}}); err != nil {
				t.Fatal(err)
			}
		}
		submit("signed", one.ID())
		submit("unsigned", "")
		var missing *signing.MissingError
		if _, err := orchestrator.Run(ctx, c.WithKeys(two), "signed", orchestrator.Config{}); !errors.As(err, &missing) || missing.Key != one.ID() || missing.By != "laptop-1" {
			t.Errorf("run: %v", err)
		}
		logged := natstest.NewLog()
		var g errgroup.Group
		serving, leave := context.WithCancel(ctx)
		g.Go(func() error {
			return orchestrator.Serve(serving, c.WithKeys(two), orchestrator.ServeConfig{Config: orchestrator.Config{Name: "server", Logger: logged.Logger()}})
		})
		<-time.After(time.Hour)
		holders, err := kv.Holders(ctx, c.Conn)
		if err != nil || len(holders) != 1 || !slices.Equal(holders["serve.server"].Keys, two.IDs()) {
			t.Errorf("the leases are %+v, %v", holders, err)
		}
		for _, run := range []jobs.RunID{"signed", "unsigned"} {
			if n := strings.Count(logged.Text(), `"run left to another orchestrator" run=`+string(run)); n != 1 {
				t.Errorf("run %s is reported %d times:\n%s", run, n, logged.Text())
			}
			log, err := c.Runs.Read(ctx, run)
			if err != nil || len(log) != 2 {
				t.Errorf("the log of %s has %d entries, %v", run, len(log), err)
			}
		}
		list, err := client.New(c).List(ctx, broker.Page{})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range list.Runs {
			if row.Status != report.RunRunning || !strings.Contains(row.Error, map[string]string{"signed": one.ID(), "unsigned": "signs nothing"}[row.Run]) {
				t.Errorf("listed as %+v", row)
			}
		}
		leave()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		both, err := signing.NewKeyring(slices.Repeat([]byte{2}, signing.Size), slices.Repeat([]byte{1}, signing.Size))
		if err != nil {
			t.Fatal(err)
		}
		taking, end := context.WithTimeout(ctx, time.Minute)
		defer end()
		if _, err := orchestrator.Run(taking, c.WithKeys(both), "signed", orchestrator.Config{}); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with both keys: %v", err)
		}
		log, err := c.Runs.Read(ctx, "signed")
		if err != nil || len(log) < 3 || log[2].Record.Takeover == nil || log[2].Record.Takeover.Key != one.ID() {
			t.Errorf("the log after a takeover is %+v, %v", log, err)
		}
	})
}
