package client_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestAwaitTakenReportsTheHandOver: AwaitTaken reports that a submitted run is
// taken, that it waits its turn, or that no orchestrator serves. It waits while
// the orchestrator that serves has room and does not take the run.
func TestAwaitTakenReportsTheHandOver(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c, err := broker.Connect(ctx, broker.Config{Options: s.Options(), Memory: true, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		want := func(run jobs.RunID, want client.HandOver) {
			t.Helper()
			if got, err := client.New(c).AwaitTaken(ctx, run); got != want || err != nil {
				t.Errorf("run %s: %d, %v, want %d", run, got, err, want)
			}
		}
		write := func(run jobs.RunID, expect uint64, rec jobs.Record) {
			t.Helper()
			if _, err := c.Runs.Append(ctx, run, "", expect, rec); err != nil {
				t.Fatal(err)
			}
		}
		write("r1", 0, jobs.Record{Spec: &jobs.Spec{Run: "r1"}})
		want("r1", client.Unserved)

		leases, err := kv.OpenLeases(ctx, c.Conn)
		if err != nil {
			t.Fatal(err)
		}
		presence, err := leases.Acquire(ctx, "serve.one", "one")
		if err != nil {
			t.Fatal(err)
		}
		keeping, stop := context.WithCancel(ctx)
		var keeper errgroup.Group
		defer func() { stop(); _ = keeper.Wait() }()
		keeper.Go(func() error { return presence.Keep(keeping) })
		patience, end := context.WithTimeout(ctx, time.Minute)
		defer end()
		if _, err := client.New(c).AwaitTaken(patience, "r1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("AwaitTaken of a run that is not taken: %v", err)
		}
		presence.SetFull(true)
		want("r1", client.Queued)
		write("r1", 0, jobs.Record{Takeover: &jobs.Takeover{Epoch: 1, Orchestrator: "one"}})
		want("r1", client.Taken)
	})
}
