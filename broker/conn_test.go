package broker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/puller"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

func TestTopologyMatchesTheDesign(t *testing.T) {
	t.Parallel()
	s := natstest.InProcess(t)
	c := connect(t, s)
	ctx := natstest.Within(t)
	natstest.Check(t, c.Queue.EnsureLane(ctx, "any"))
	natstest.Check(t, c.Queue.EnsureLane(ctx, "any")) // again is no error
	js := natstest.Must[jetstream.JetStream](t)(jetstream.New(s.Connect(t)))
	cfg := func(name string) jetstream.StreamConfig {
		return natstest.Must[jetstream.Stream](t)(js.Stream(ctx, name)).CachedInfo().Config
	}
	queue := cfg("MP_JOBS")
	if queue.Retention != jetstream.WorkQueuePolicy || queue.Storage != jetstream.FileStorage || queue.Discard != jetstream.DiscardNew ||
		queue.MaxBytes <= 0 || queue.MaxConsumers < 10_000 || queue.Subjects[0] != "mp.job.>" {
		t.Errorf("MP_JOBS: %+v", queue)
	}
	if r := queue.RePublish; r == nil || !r.HeadersOnly || r.Source != "mp.job.>" || r.Destination != "mp.bell.>" {
		t.Errorf("MP_JOBS republishes %+v", r)
	}
	if runs := cfg("MP_RUNS"); runs.Retention != jetstream.LimitsPolicy || !runs.AllowDirect || runs.MaxAge != 0 || runs.MaxBytes <= 0 || runs.Discard != jetstream.DiscardNew || runs.Duplicates > time.Second {
		t.Errorf("MP_RUNS: %+v", runs)
	}
	if logs := cfg("MP_LOGS"); logs.Compression != jetstream.S2Compression || logs.MaxAge != 7*24*time.Hour || logs.MaxBytes <= 0 {
		t.Errorf("MP_LOGS: %+v", logs)
	}
	if blobs := cfg("OBJ_mp-blobs"); blobs.MaxAge != 90*24*time.Hour || blobs.Discard != jetstream.DiscardNew || blobs.AllowRollup || blobs.MaxMsgsPerSubject != 1 || !blobs.AllowDirect {
		t.Errorf("OBJ_mp-blobs: %+v", blobs)
	}
	lane := natstest.Must[jetstream.Consumer](t)(js.Consumer(ctx, "MP_JOBS", "any")).CachedInfo().Config
	if lane.Durable != "any" || lane.AckPolicy != jetstream.AckExplicitPolicy || lane.AckWait != streams.AckWait || lane.MaxAckPending != -1 ||
		lane.MaxWaiting != 20_000 || lane.MaxDeliver != -1 || lane.FilterSubject != "mp.job.any.>" || lane.InactiveThreshold < 48*time.Hour {
		t.Errorf("lane: %+v", lane)
	}
}

func TestExistingConfigurationIsKept(t *testing.T) {
	t.Parallel()
	s := natstest.InProcess(t)
	ctx := natstest.Within(t)
	js := natstest.Must[jetstream.JetStream](t)(jetstream.New(s.Connect(t)))
	natstest.Must[jetstream.Stream](t)(js.CreateStream(ctx, jetstream.StreamConfig{Name: "MP_RUNS", Subjects: []string{"mp.run.>"}, MaxAge: time.Hour}))
	c := connect(t, s)
	natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "m", 0, claim()))
	info := natstest.Must[jetstream.Stream](t)(js.Stream(ctx, "MP_RUNS")).CachedInfo()
	if info.Config.MaxAge != time.Hour || info.State.Msgs != 1 {
		t.Errorf("%+v", info)
	}
}

func TestSmallStoreGetsLowerLimits(t *testing.T) {
	t.Parallel()
	s := natstest.StartServer(t, func(o *server.Options) { o.JetStreamMaxStore = 3 << 30 })
	c := connect(t, s)
	natstest.Must[uint64](t)(c.Runs.Append(natstest.Within(t), "r", "m", 0, claim()))
}

// restricted starts a server on which alice has all permissions, and bob the given
// ones.
func restricted(t *testing.T, publish, subscribe []string) broker.Config {
	t.Helper()
	s := natstest.StartServer(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "alice", Password: "a"},
			{Username: "bob", Password: "b", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: publish},
				Subscribe: &server.SubjectPermission{Allow: subscribe},
			}},
		}
	})
	cfg := config(t, s)
	cfg.Options = []nats.Option{nats.UserInfo("alice", "a")}
	c, err := broker.Connect(natstest.Within(t), cfg)
	natstest.Check(t, err)
	t.Cleanup(c.Close)
	natstest.Check(t, c.Queue.EnsureLane(natstest.Within(t), "any"))
	cfg.Options = []nats.Option{nats.UserInfo("bob", "b")}
	cfg.Inbox = "_INBOX.bob"
	return cfg
}

func TestDeniedPermissionNamesTheSubject(t *testing.T) {
	t.Parallel()
	cfg := restricted(t, []string{"$JS.API.STREAM.INFO.>"}, []string{"_INBOX.bob.>"})
	c := natstest.Must[*broker.Conn](t)(broker.Connect(natstest.Within(t), cfg))
	defer c.Close()
	ctx := natstest.Within(t)
	denied := func(what, subject string, err error) {
		t.Helper()
		if !errors.Is(err, broker.ErrDenied) || !strings.Contains(err.Error(), subject) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := c.Runs.Append(ctx, "r", "m", 0, claim())
	denied("append", "mp.run.r.mod.m", err)
	done := make(chan error, 1)
	c.Queue.Publish(ctx, job("m"), func(err error) { done <- err })
	denied("publish", "mp.job.any.r.m.1", <-done)
	denied("follow", "CONSUMER.CREATE.MP_RUNS", c.Runs.Follow(ctx, "r", 0, nil))
	_, err = c.Values.Put(ctx, jobs.OutputsOf(map[string]string{"a": strings.Repeat("x", 1<<20)}))
	denied("outputs", "mp-blobs", err)
	p := puller.New(c.Conn, c.Queue, 1, func(*puller.Delivery) {})
	p.Serve("any", 1)
	denied("pull", "CONSUMER.MSG.NEXT.MP_JOBS.any", p.Run(ctx))
	denied("controls", "mp.ctl", c.Control.Receive(ctx, "w", nil))
}

func TestDeniedInboxIsNamed(t *testing.T) {
	t.Parallel()
	cfg := restricted(t, []string{">"}, []string{"nothing"})
	_, err := broker.Connect(natstest.Within(t), cfg)
	if err != nil {
		if !errors.Is(err, broker.ErrDenied) || !strings.Contains(err.Error(), "_INBOX.bob") {
			t.Errorf("%v", err)
		}
		return
	}
	t.Error("it connected, although it cannot receive answers")
}

func TestCallsSurviveACut(t *testing.T) {
	t.Parallel()
	s := natstest.StartServer(t, nil)
	c := connect(t, s)
	ctx := natstest.Within(t)
	again := c.Reconnected(ctx)
	s.Stop()
	written := make(chan error, 1)
	go func() {
		_, err := c.Runs.Append(ctx, "r", "m", 0, claim())
		written <- err
	}()
	s.Start(t)
	natstest.Receive(t, ctx, again)
	natstest.Check(t, <-written)
	s.Stop()
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := c.Runs.Append(short, "r", "n", 0, claim()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a server: %v", err)
	}
	done := make(chan error, 1)
	c.Queue.Publish(ctx, job("m"), func(err error) { done <- err })
	if err := <-done; err == nil {
		t.Error("published to a stopped server")
	}
}

func TestControlMessagesArrive(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	got := make(chan jobs.RunID, 10)
	attempt, worker := signing.Key("key of an attempt"), signing.Key("key of a worker")
	natstest.Background(t, func(ctx context.Context) error {
		return c.Control.Receive(ctx, "w", func(m *broker.Received) {
			key, of := worker, jobs.RunID("")
			if m.Cancel != nil {
				key, of = attempt, m.Cancel.Run
			}
			if m.Signed(key) && !m.Signed(signing.Key("another key")) {
				got <- of
			}
		})
	})
	tick := time.NewTicker(5 * time.Millisecond) // control is lossy: repeated until it arrives
	defer tick.Stop()
	received := map[jobs.RunID]bool{}
	for len(received) < 2 {
		natstest.Check(t, c.Control.SendWorker("w", attempt, jobs.Control{Cancel: &jobs.CancelAttempt{Run: "r", Module: "m", Attempt: 1}}))
		natstest.Check(t, c.Control.SendWorker("w", worker, jobs.Control{Drain: &jobs.Drain{By: "me"}}))
		select {
		case run := <-got:
			received[run] = true
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the messages do not arrive")
		}
	}
}

func TestLogsAreReadOnceAndInOrder(t *testing.T) {
	t.Parallel()
	s := natstest.StartServer(t, nil)
	c := connect(t, s)
	ctx := natstest.Within(t)
	id := jobs.AttemptID{Module: "m", Attempt: 1}
	chunk := func(n int) jobs.LogChunk {
		return jobs.LogChunk{Number: n, Time: time.Now(), Parts: []jobs.LogPart{{Stream: jobs.Stdout, Data: []byte(strings.Repeat("line\n", n*100))}}}
	}
	out := make(chan broker.LogEntry)
	natstest.Background(t, func(ctx context.Context) error { return c.Logs.Follow(ctx, "r", out) })
	go func() {
		for n := 1; n <= 100; n++ {
			for range 1 + n%2 { // some are repeated
				if err := c.Logs.Append(ctx, "r", id, chunk(n)); err != nil {
					t.Error(err)
				}
			}
			if n == 50 {
				s.CutClients()
			}
		}
	}()
	for n := 1; n <= 100; n++ {
		if e := natstest.Receive(t, ctx, out); e.Chunk.Number != n || e.ID != id || len(e.Chunk.Parts[0].Data) != n*500 {
			t.Fatalf("chunk %d is %d", n, e.Chunk.Number)
		}
	}
	count := 0
	natstest.Check(t, c.Logs.Read(ctx, "r", "m", 1, func(broker.LogEntry) error { count++; return nil }))
	natstest.Check(t, c.Logs.Read(ctx, "r", "other", 0, func(broker.LogEntry) error { count++; return nil }))
	if count != 100 {
		t.Errorf("%d chunks", count)
	}
}
