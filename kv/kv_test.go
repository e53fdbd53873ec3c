package kv_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/test/natstest"
)

// patience is how long a test waits for what must happen.
const patience = 5 * time.Minute

func connect(t *testing.T, s *natstest.Server) *broker.Conn {
	t.Helper()
	c, err := broker.Connect(t.Context(), broker.Config{
		URL: s.URL(), Options: s.Options(), Memory: true, ConnectTimeout: patience, Logger: slog.New(slog.DiscardHandler),
	})
	check(t, err)
	t.Cleanup(c.Close)
	return c
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func registry(t *testing.T, c *broker.Conn, ttl time.Duration) *kv.Registry {
	t.Helper()
	r, err := kv.OpenRegistry(t.Context(), c.Conn, ttl)
	check(t, err)
	return r
}

func TestNameBelongsToOneLiveIncarnation(t *testing.T) {
	t.Parallel()
	r := registry(t, connect(t, natstest.InProcess(t)), 0)
	ctx := natstest.Within(t)
	if r.TTL() != 3*time.Second {
		t.Errorf("TTL %v", r.TTL())
	}
	check(t, r.Register(ctx, jobs.WorkerInfo{Name: "w", Incarnation: "1"}))
	check(t, r.Register(ctx, jobs.WorkerInfo{Name: "w", Incarnation: "1"}))
	if err := r.Register(ctx, jobs.WorkerInfo{Name: "w", Incarnation: "2"}); !errors.Is(err, kv.ErrTaken) {
		t.Errorf("a second incarnation: %v", err)
	}
	check(t, r.Leave(ctx, "w"))
	check(t, r.Register(ctx, jobs.WorkerInfo{Name: "w", Incarnation: "2"}))
	check(t, r.Beat(ctx, jobs.WorkerInfo{Name: "w", Incarnation: "2", Used: 1}))
	check(t, r.Register(ctx, jobs.WorkerInfo{Name: "a", Incarnation: "3"}))
	list, err := r.List(ctx)
	check(t, err)
	if len(list) != 2 || list[0].Name != "a" || list[1].Used != 1 {
		t.Errorf("%+v", list)
	}
	if err := r.Register(ctx, jobs.WorkerInfo{Name: "a.b.c"}); err == nil {
		t.Error("a name with two dots")
	}
}

// A heartbeat of a dead incarnation may arrive when the next one has the name. The
// entry stays as it is.
func TestLateHeartbeatDoesNotReplaceASuccessor(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	dead, live := registry(t, c, 0), registry(t, c, 0)
	check(t, dead.Register(ctx, jobs.WorkerInfo{Name: "w", Incarnation: "1"}))
	check(t, dead.Leave(ctx, "w"))
	check(t, live.Register(ctx, jobs.WorkerInfo{Name: "w", Incarnation: "2"}))
	if err := dead.Beat(ctx, jobs.WorkerInfo{Name: "w", Incarnation: "1"}); !errors.Is(err, kv.ErrTaken) {
		t.Errorf("a heartbeat: %v", err)
	}
	check(t, dead.Leave(ctx, "w"))
	list, err := live.List(ctx)
	check(t, err)
	if len(list) != 1 || list[0].Incarnation != "2" {
		t.Errorf("%+v", list)
	}
	check(t, live.Leave(ctx, "w"))
}

func TestEndOfASilentWorkerIsReported(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		c := connect(t, s)
		r := registry(t, c, 10*time.Second)
		ctx := t.Context()
		out := make(chan kv.Change)
		natstest.Background(t, func(ctx context.Context) error { return r.Watch(ctx, out) })
		if first := natstest.Receive(t, ctx, out); !first.Began {
			t.Fatalf("%+v", first)
		}
		if second := natstest.Receive(t, ctx, out); !second.Synced {
			t.Fatalf("%+v", second)
		}
		beats := 0
		change := func() kv.Change {
			for {
				c := natstest.Receive(t, ctx, out)
				if !c.Beat {
					return c
				}
				beats++
			}
		}
		began := time.Now()
		check(t, r.Register(ctx, jobs.WorkerInfo{Name: "w", Incarnation: "1"}))
		if joined := change(); joined.Gone || joined.Worker.Incarnation != "1" {
			t.Fatalf("%+v", joined)
		}
		gone := change()
		if !gone.Gone || gone.Left || gone.Worker.Name != "w" {
			t.Fatalf("%+v", gone)
		}
		if after := time.Since(began); after < 10*time.Second || after > 10*time.Second+500*time.Millisecond {
			t.Errorf("reported after %v", after)
		}
		if beats < 8 {
			t.Errorf("the watch sent %d beats in 10 s without a change", beats)
		}
		check(t, r.Register(ctx, jobs.WorkerInfo{Name: "w", Incarnation: "2"}))
		change()
		check(t, r.Leave(ctx, "w"))
		if left := change(); !left.Gone || !left.Left {
			t.Errorf("%+v", left)
		}
		synctest.Wait()
	})
}

func TestBeatsKeepAWorker(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		r := registry(t, connect(t, s), 3*time.Second)
		check(t, r.Register(t.Context(), jobs.WorkerInfo{Name: "w", Incarnation: "1"}))
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for range 60 {
			<-tick.C
			check(t, r.Beat(t.Context(), jobs.WorkerInfo{Name: "w", Incarnation: "1"}))
			list, err := r.List(t.Context())
			check(t, err)
			if len(list) != 1 {
				t.Fatal("the entry is gone")
			}
		}
	})
}

func TestRegistryIsRecreatedAfterARestart(t *testing.T) {
	t.Parallel()
	s := natstest.StartServer(t, nil)
	c := connect(t, s)
	r := registry(t, c, 5*time.Second)
	ctx := natstest.Within(t)
	out := make(chan kv.Change)
	natstest.Background(t, func(ctx context.Context) error { return r.Watch(ctx, out) })
	natstest.Receive(t, ctx, out)
	natstest.Receive(t, ctx, out)
	check(t, r.Register(ctx, jobs.WorkerInfo{Name: "w", Incarnation: "1"}))
	natstest.Receive(t, ctx, out)
	s.Restart(t)
	beat := make(chan error, 1)
	go func() { beat <- r.Beat(ctx, jobs.WorkerInfo{Name: "w", Incarnation: "1", Used: 7}) }()
	synced, seen := false, false
	for !synced || !seen {
		change := natstest.Receive(t, ctx, out)
		synced = synced || change.Synced
		seen = seen || change.Worker.Used == 7
	}
	check(t, <-beat)
	again := registry(t, connect(t, s), time.Hour)
	if again.TTL() != 5*time.Second {
		t.Errorf("the bucket was recreated with a TTL of %v", again.TTL())
	}
}

func TestLaneWatchSendsWrittenLanes(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	l, err := kv.OpenLanes(ctx, c.Conn)
	check(t, err)
	set := jobs.LaneSet{Requires: pipeline.Requirements{OS: "linux"}, Slots: 1}
	first, err := l.Put(ctx, "os_linux", set)
	check(t, err)
	same, err := l.Put(ctx, "os_linux", set)
	check(t, err)
	if same != first {
		t.Errorf("entered again: %d, %d", first, same)
	}
	out := make(chan kv.LaneChange)
	natstest.Background(t, func(ctx context.Context) error { return l.Watch(ctx, out) })
	if e := natstest.Receive(t, ctx, out); !e.Began {
		t.Errorf("%+v", e)
	}
	if e := natstest.Receive(t, ctx, out); e.Lane != "os_linux" || e.Set.Requires.OS != "linux" || e.Revision != first {
		t.Errorf("%+v", e)
	}
	if e := natstest.Receive(t, ctx, out); !e.Synced {
		t.Errorf("%+v", e)
	}
	set.Slots = 2
	second, err := l.Put(ctx, "os_linux", set)
	check(t, err)
	if e := natstest.Receive(t, ctx, out); e.Revision != second || second == first || e.Set.Slots != 2 {
		t.Errorf("%+v", e)
	}
}
