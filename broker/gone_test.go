package broker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// deleteStream deletes a stream as an administrator does.
func deleteStream(t *testing.T, ctx context.Context, s *natstest.Server, name string) {
	t.Helper()
	js := natstest.Must[jetstream.JetStream](t)(jetstream.New(s.Connect(t)))
	natstest.Check(t, js.DeleteStream(ctx, name))
}

func specOf(run jobs.RunID) jobs.Record { return jobs.Record{Spec: &jobs.Spec{Run: run}} }

// TestFollowEndsWhenTheStreamIsRecreated: the stream is deleted and recreated on the
// same connection, and holds more records than before.
func TestFollowEndsWhenTheStreamIsRecreated(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		c := memory(t, s)
		defer c.Close()
		ctx := natstest.Within(t)
		natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "m", 0, claim()))
		out, ended := make(chan jobs.Entry), make(chan error, 1)
		go func() { ended <- c.Runs.Follow(ctx, "r", 0, out) }()
		natstest.Receive(t, ctx, out)
		<-time.After(time.Second) // readers recognise a stream by the time of its creation
		deleteStream(t, ctx, s, "MP_RUNS")
		natstest.Check(t, c.Ensure(ctx))
		for i := range 5 {
			natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", jobs.ModuleID(fmt.Sprint("other", i)), 0, claim()))
		}
		if err := natstest.Receive(t, ctx, ended); !errors.Is(err, broker.ErrReconnected) {
			t.Errorf("following ended with %v", err)
		}
	})
}

// TestWatchOfRunsRestartsInARecreatedStream: the watch sends the runs that are
// submitted after the deletion, and does not repeat earlier ones.
func TestWatchOfRunsRestartsInARecreatedStream(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		c := memory(t, s)
		defer c.Close()
		ctx := natstest.Within(t)
		for i := range 5 {
			run := jobs.RunID(fmt.Sprint("old", i))
			natstest.Must[uint64](t)(c.Runs.Append(ctx, run, "", 0, specOf(run)))
		}
		out := make(chan broker.RunChange)
		natstest.Background(t, func(ctx context.Context) error { return c.Runs.Watch(ctx, out) })
		list := func() (runs []string) {
			for {
				switch change := natstest.Receive(t, ctx, out); {
				case change.Began:
					runs = []string{"began"}
				case change.Synced:
					return runs
				default:
					runs = append(runs, string(change.Run))
				}
			}
		}
		if got := strings.Join(list(), " "); got != "began old0 old1 old2 old3 old4" {
			t.Errorf("at first: %s", got)
		}
		deleteStream(t, ctx, s, "MP_RUNS")
		if got := strings.Join(list(), " "); got != "began" {
			t.Errorf("after the stream was deleted: %s", got)
		}
		natstest.Must[uint64](t)(c.Runs.Append(ctx, "new", "", 0, specOf("new")))
		if change := natstest.Receive(t, ctx, out); change.Run != "new" {
			t.Errorf("after a submission: %+v", change)
		}
	})
}

// TestLossOfALogIsDetected: readers are not notified of the purge of one run.
func TestLossOfALogIsDetected(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		c := memory(t, s)
		defer c.Close()
		ctx := natstest.Within(t)
		natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "", 0, specOf("r")))
		gone := make(chan error, 1)
		go func() { gone <- c.Runs.WatchGone(ctx, "r") }()
		js := natstest.Must[jetstream.JetStream](t)(jetstream.New(s.Connect(t)))
		stream := natstest.Must[jetstream.Stream](t)(js.Stream(ctx, "MP_RUNS"))
		natstest.Check(t, stream.Purge(ctx, jetstream.WithPurgeSubject("mp.run.r.>")))
		var lost *broker.GoneError
		if err := natstest.Receive(t, ctx, gone); !errors.As(err, &lost) || lost.Run != "r" || lost.Stream != "MP_RUNS" {
			t.Errorf("%v", err)
		}
	})
}

// TestDroppedLogDoesNotCountAsLost: the end of the run remains.
func TestDroppedLogDoesNotCountAsLost(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "", 0, jobs.Record{End: &jobs.End{Status: report.RunSucceeded}}))
	if there := natstest.Must[bool](t)(c.Runs.HasLog(ctx, "r")); !there {
		t.Error("the log of a run that was dropped counts as lost")
	}
	if there := natstest.Must[bool](t)(c.Runs.HasLog(ctx, "never")); there {
		t.Error("a run that never was has a log")
	}
}
