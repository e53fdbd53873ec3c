package orchestrator_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// until checks a condition every 20 ms until it holds.
func (s *site) until(what string, holds func() bool) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.t.Fatalf("timed out waiting for %s", what)
		}
	}
}

func (s *site) marks() []string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "marks"))
	return strings.Fields(string(text))
}

// TestWorkLostWithTheEndOfTheLogRunsAgain: the server restarts with the store that it
// had before a module ended and the next began. Both modules run again without
// help. Each new fencing token is larger than any that was lost.
func TestWorkLostWithTheEndOfTheLogRunsAgain(t *testing.T) {
	store := t.TempDir()
	s := newSiteOn(t, natstest.StartServer(t, func(o *server.Options) { o.StoreDir = filepath.Join(store, "now") }))
	s.worker("w1")
	s.submit("r1", `
name: p
modules:
  a: {not-in-parallel: k, run: 'echo a >>marks; echo $MODPIPE_FENCING_TOKEN >>tokens; until test -e a-may-end; do sleep 0.02; done'}
  b: {needs: [a], not-in-parallel: k, run: 'echo b >>marks; echo $MODPIPE_FENCING_TOKEN >>tokens; until test -e b-may-end; do sleep 0.02; done'}
`)
	var g errgroup.Group
	g.Go(func() error {
		_, err := orchestrator.Run(s.ctx, s.conn, "r1", orchestrator.Config{})
		return err
	})
	s.until("a to run", func() bool { return slices.Equal(s.marks(), []string{"a"}) })
	s.nats.Stop()
	if err := os.CopyFS(filepath.Join(store, "before"), os.DirFS(filepath.Join(store, "now"))); err != nil {
		t.Fatal(err)
	}
	s.nats.Start(t)
	s.touch("a-may-end")
	s.until("b to run", func() bool { return slices.Contains(s.marks(), "b") })
	s.nats.Stop()
	for _, move := range [][2]string{{"now", "lost"}, {"before", "now"}} {
		if err := os.Rename(filepath.Join(store, move[0]), filepath.Join(store, move[1])); err != nil {
			t.Fatal(err)
		}
	}
	s.nats.Start(t)
	s.until("b to run again", func() bool { return strings.Count(strings.Join(s.marks(), ""), "b") >= 2 })
	s.touch("b-may-end")
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	rep, err := client.New(s.conn).Show(s.ctx, "r1")
	if err != nil || rep.Status != report.RunSucceeded {
		t.Fatalf("the run ended as %v, %v", rep, err)
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "tokens"))
	tokens := strings.Fields(string(text))
	if err != nil || !slices.IsSortedFunc(tokens, func(a, b string) int { return len(a) - len(b) }) || !slices.IsSorted(tokens) || len(slices.Compact(slices.Clone(tokens))) != len(tokens) {
		t.Errorf("the tokens are %v, %v", tokens, err)
	}
}

// TestStrayRecordsInACellAreSkipped: records that do not fit a module's log are
// skipped with one warning, before the module runs and while it runs.
func TestStrayRecordsInACellAreSkipped(t *testing.T) {
	s := newSite(t, 1)
	s.submit("r1", `
name: p
modules:
  a: {not-in-parallel: k, run: 'echo a >>marks; until test -e may-end; do sleep 0.02; done'}
`)
	stray := func(expect uint64) uint64 {
		t.Helper()
		seq, err := s.conn.Runs.Append(s.ctx, "r1", "a", expect, jobs.Record{Outcome: &jobs.Outcome{Attempt: 7, Status: report.AttemptFailed}})
		if err != nil {
			t.Fatal(err)
		}
		return seq
	}
	stray(stray(0))
	var g errgroup.Group
	g.Go(func() error {
		_, err := orchestrator.Run(s.ctx, s.conn, "r1", orchestrator.Config{})
		return err
	})
	s.until("a to run", func() bool { return len(s.marks()) == 1 })
	last, err := s.conn.Runs.Last(s.ctx, "r1", "a")
	if err != nil || last.Record.Claim == nil {
		t.Fatalf("the last record is %+v, %v", last, err)
	}
	if err := s.conn.Publish(&nats.Msg{Subject: "mp.run.r1.mod.a", Data: []byte("no message")}); err != nil {
		t.Fatal(err)
	}
	s.until("the junk to be stored", func() bool {
		e, err := s.conn.Runs.Last(s.ctx, "r1", "a")
		return err == nil && e.Unread != nil
	})
	s.touch("may-end")
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	rep, err := client.New(s.conn).Show(s.ctx, "r1")
	if err != nil || rep.Status != report.RunSucceeded || len(rep.Modules[0].Attempts) != 1 {
		t.Fatalf("the run ended as %+v, %v", rep, err)
	}
	if len(rep.Warnings) != 2 || !strings.Contains(rep.Warnings[0], "stray record") || !strings.Contains(rep.Warnings[1], "a program forges records") {
		t.Errorf("the warnings are %q", rep.Warnings)
	}
}
