package broker_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

// following follows a run in the background, until stop.
func following(t *testing.T, ctx context.Context, c *broker.Conn, run jobs.RunID) (out <-chan jobs.Entry, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	entries := make(chan jobs.Entry)
	var all sync.WaitGroup
	all.Go(func() {
		if err := followAgain(ctx, c, run, entries); err != nil {
			t.Error(err)
		}
	})
	return entries, func() { cancel(); all.Wait() }
}

func memory(t *testing.T, s *natstest.Server) *broker.Conn {
	t.Helper()
	cfg := config(t, s)
	cfg.Memory = true
	return natstest.Must[*broker.Conn](t)(broker.Connect(t.Context(), cfg))
}

// TestReadLogFromAReplicaThatIsBehind: the cluster places a reader's consumer on a
// replica that does not know the run yet, and then on one that knows its beginning.
func TestReadLogFromAReplicaThatIsBehind(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		c := memory(t, s)
		defer c.Close()
		ctx := natstest.Within(t)
		cells := []string{"a", "b", "c"}
		for _, cell := range cells {
			natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", jobs.ModuleID(cell), 0, claim()))
		}
		known := 0
		s.Consumers(t, "MP_RUNS", "mp.>", func(cfg map[string]any) bool {
			has := []string{"mp.run.r.mod.none"}
			for _, cell := range cells[:min(known, len(cells))] {
				has = append(has, "mp.run.r.mod."+cell)
			}
			delete(cfg, "filter_subject")
			cfg["filter_subjects"] = has
			known++
			return true
		})
		log := natstest.Must[[]jobs.Entry](t)(c.Runs.Read(ctx, "r"))
		var read []string
		for _, e := range log {
			read = append(read, string(e.Cell))
		}
		if got := strings.Join(read, " "); got != "a b c" {
			t.Errorf("read %q", got)
		}
		if known < 4 {
			t.Errorf("only %d consumers were placed", known)
		}
	})
}

// TestReadersWhoseConsumerIsPlacedOnADeadServer: requests for the first consumers
// are never answered, even if they are repeated.
func TestReadersWhoseConsumerIsPlacedOnADeadServer(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		c := memory(t, s)
		defer c.Close()
		ctx := natstest.Within(t)
		natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "m", 0, claim()))
		dead := map[any]bool{}
		s.Consumers(t, "MP_RUNS", "mp.>", func(cfg map[string]any) bool {
			if len(dead) < 3 {
				dead[cfg["name"]] = true
			}
			return !dead[cfg["name"]]
		})
		if log := natstest.Must[[]jobs.Entry](t)(c.Runs.Read(ctx, "r")); len(log) != 1 {
			t.Errorf("%d records", len(log))
		}
		clear(dead)
		out, stop := following(t, ctx, c, "r")
		natstest.Receive(t, ctx, out)
		stop()
	})
}

// TestReadersWhoseConsumerHasNoPlace: all servers that hold the stream are down for
// a moment, and the cluster reports a lack of resources.
func TestReadersWhoseConsumerHasNoPlace(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		c := memory(t, s)
		defer c.Close()
		ctx := natstest.Within(t)
		natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "m", 0, claim()))
		asked := 0
		var restore func()
		restore = s.Between(t, "$JS.API.CONSUMER.CREATE.>", ">", func(_ *nats.Conn, m *nats.Msg) {
			if asked++; asked == 5 {
				restore()
			}
			natstest.Check(t, m.Respond([]byte(`{"error": {"code": 503, "err_code": 10023, "description": "insufficient resources"}}`)))
		})
		if log := natstest.Must[[]jobs.Entry](t)(c.Runs.Read(ctx, "r")); len(log) != 1 || asked != 5 {
			t.Errorf("%d records after %d refusals", len(log), asked)
		}
	})
}

// soon is the longest pause between two attempts plus a check for the stream.
const soon = 2 * time.Second

// TestWritesComeSoonAfterAnElection: while a cluster has no leader, it answers
// neither writes to a stream nor the question whether the stream exists. A writer
// that asks that question still writes soon after the election.
func TestWritesComeSoonAfterAnElection(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		c := memory(t, s)
		defer c.Close()
		b := natstest.Must[*jetstream.Bucket](t)(c.OpenBucket(natstest.Within(t), jetstream.BucketConfig{Name: "mp-x"}))
		cells := 0
		for name, write := range map[string]func(context.Context) error{
			"mp.run.>": func(ctx context.Context) error {
				cells++
				_, err := c.Runs.Append(ctx, "r", jobs.ModuleID(fmt.Sprint("m", cells)), 0, claim())
				return err
			},
			"$KV.>": func(ctx context.Context) error {
				_, err := b.Put(ctx, "k", nil)
				return err
			},
		} {
			for without := 500 * time.Millisecond; without < 8*time.Second; without += 700 * time.Millisecond {
				look := s.Between(t, "$JS.API.STREAM.INFO.>", ">", func(*nats.Conn, *nats.Msg) {})
				store := s.Divert(t, name, "nobody.>")
				var elected time.Time // written while the write below waits
				time.AfterFunc(without, func() {
					elected = time.Now()
					look()
					store()
				})
				natstest.Check(t, write(natstest.Within(t)))
				if took := time.Since(elected); took > soon {
					t.Errorf("%s: written %v after the election, %v after the loss", name, took, took+without)
				}
			}
		}
	})
}

// TestStreamIsCreatedDespiteAnotherCreator: a server that two programs ask for the
// same stream at the same moment may fail one of them.
func TestStreamIsCreatedDespiteAnotherCreator(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		c := memory(t, s)
		defer c.Close()
		asked := 0
		var restore func()
		restore = s.Between(t, "$JS.API.STREAM.CREATE.KV_mp-x", "created", func(_ *nats.Conn, m *nats.Msg) {
			if asked++; asked == 2 {
				restore()
			}
			natstest.Check(t, m.Respond([]byte(`{"error": {"code": 500, "err_code": 10049, "description": "error creating store for stream"}}`)))
		})
		b := natstest.Must[*jetstream.Bucket](t)(c.OpenBucket(natstest.Within(t), jetstream.BucketConfig{Name: "mp-x"}))
		natstest.Must[uint64](t)(b.Put(natstest.Within(t), "a", []byte("1")))
		if asked != 2 {
			t.Errorf("it was refused %d times, want 2", asked)
		}
	})
}
