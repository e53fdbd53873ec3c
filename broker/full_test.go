package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/test/natstest"
)

// messages is a log that tests read.
type messages struct {
	slog.Handler
	logged chan string
}

func newMessages() messages {
	return messages{slog.DiscardHandler, make(chan string, 1000)}
}

func (m messages) Enabled(context.Context, slog.Level) bool { return true }
func (m messages) WithAttrs([]slog.Attr) slog.Handler       { return m }
func (m messages) WithGroup(string) slog.Handler            { return m }
func (m messages) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.Key + "=" + a.Value.String()
		return true
	})
	m.logged <- text
	return nil
}

// await takes messages until one contains all the words.
func (m messages) await(t *testing.T, ctx context.Context, words ...string) {
	t.Helper()
next:
	for {
		text := natstest.Receive(t, ctx, m.logged)
		for _, w := range words {
			if !strings.Contains(text, w) {
				continue next
			}
		}
		return
	}
}

// small starts a server on which a stream has little room. It returns a connection
// to it, the connection's log, and a function that changes the room.
func small(t *testing.T, stream string, bytes int64) (c *broker.Conn, said messages, resize func(int64)) {
	t.Helper()
	return smallOn(t, natstest.InProcess(t), stream, bytes)
}

// smallOn is small on a server.
func smallOn(t *testing.T, s *natstest.Server, stream string, bytes int64) (c *broker.Conn, said messages, resize func(int64)) {
	t.Helper()
	connect(t, s).Close()
	js, err := natsjs.New(s.Connect(t))
	natstest.Check(t, err)
	resize = func(bytes int64) {
		t.Helper()
		st, err := js.Stream(t.Context(), stream)
		natstest.Check(t, err)
		cfg := st.CachedInfo().Config
		cfg.MaxBytes = bytes
		_, err = js.UpdateStream(t.Context(), cfg)
		natstest.Check(t, err)
	}
	resize(bytes)
	said = newMessages()
	cfg := config(t, s)
	cfg.Logger = slog.New(said)
	c, err = broker.Connect(t.Context(), cfg)
	natstest.Check(t, err)
	t.Cleanup(c.Close)
	return c, said, resize
}

func spec(run jobs.RunID) jobs.Record {
	return jobs.Record{Spec: &jobs.Spec{Run: run, Pipeline: &pipeline.Pipeline{Name: "p"}}}
}

// noise returns bytes that cannot be compressed.
func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// waitsForRoom checks that a write waits for room, reports the wait, and succeeds
// when there is room.
func waitsForRoom(t *testing.T, stream string, fill, write func(context.Context, *broker.Conn) error) *broker.Conn {
	t.Helper()
	ctx := natstest.Within(t)
	c, said, resize := small(t, stream, 4<<10)
	for {
		err := fill(ctx, c)
		if errors.Is(err, broker.ErrFull) {
			break
		}
		natstest.Check(t, err)
	}
	done := make(chan error, 1)
	var g sync.WaitGroup
	g.Go(func() { done <- write(ctx, c) })
	defer g.Wait()
	said.await(t, ctx, "no room", stream, "enlarge it")
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	resize(1 << 20)
	natstest.Check(t, natstest.Receive(t, ctx, done))
	said.await(t, ctx, "stores again", stream)
	return c
}

// TestFullLogOfRuns: decisions and outcomes wait for room and are stored once. A new
// run fails immediately with the reason.
func TestFullLogOfRuns(t *testing.T) {
	t.Parallel()
	n := 0
	c := waitsForRoom(t, "MP_RUNS", func(ctx context.Context, c *broker.Conn) error {
		n++
		run := jobs.RunID("r" + strings.Repeat("x", n%50))
		_, err := c.Runs.Append(ctx, run, "", 0, spec(run))
		if errors.Is(err, broker.ErrConflict) {
			err = nil
		}
		if errors.Is(err, broker.ErrFull) {
			for _, want := range []string{"stream MP_RUNS holds", "0.0 MiB", "nats stream edit MP_RUNS", "--keep-runs"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v: it does not contain %q", err, want)
				}
			}
		}
		return err
	}, func(ctx context.Context, c *broker.Conn) error {
		rec := outcome()
		rec.Outcome.Error = string(noise(700))
		_, err := c.Runs.Append(ctx, "r", "m", 0, rec)
		return err
	})
	log := natstest.Must[[]jobs.Entry](t)(c.Runs.Read(natstest.Within(t), "rx"))
	if len(log) != 1 {
		t.Errorf("rx has %d entries", len(log))
	}
	if _, err := c.Runs.Append(natstest.Within(t), "r", "m", 0, outcome()); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("a second outcome: %v", err)
	}
}

// TestFullQueue: publishing a job fails for lack of room, and the caller retries.
func TestFullQueue(t *testing.T) {
	t.Parallel()
	ctx := natstest.Within(t)
	c, _, resize := small(t, "MP_JOBS", 2<<10)
	natstest.Check(t, c.Queue.EnsureLane(ctx, "any"))
	publish := func(n int) error {
		done := make(chan error, 1)
		c.Queue.Publish(ctx, &jobs.Job{Run: "r", Lane: "any", Module: "m", Attempt: jobs.Attempt(n)}, func(err error) { done <- err })
		return natstest.Receive(t, ctx, done)
	}
	n := 1
	for ; ; n++ {
		if err := publish(n); errors.Is(err, broker.ErrFull) {
			break
		} else {
			natstest.Check(t, err)
		}
	}
	resize(1 << 20)
	natstest.Check(t, publish(n))
	if err := publish(n); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("a second copy: %v", err)
	}
}

// TestFullBlobs: large outputs wait for room, a large specification fails.
func TestFullBlobs(t *testing.T) {
	t.Parallel()
	large := string(noise(broker.InlineLimit * 2))
	var want jobs.Value
	c := waitsForRoom(t, "OBJ_mp-blobs", func(ctx context.Context, c *broker.Conn) error {
		rec := spec("r")
		rec.Spec.Labels = map[string]string{"l": string(noise(1 << 20))}
		_, err := c.Runs.Append(ctx, "r", "", 0, rec)
		return err
	}, func(ctx context.Context, c *broker.Conn) (err error) {
		want, err = c.Values.Put(ctx, jobs.OutputsOf(map[string]string{"o": large}))
		return err
	})
	got, err := c.Values.Outputs(natstest.Within(t), want)
	natstest.Check(t, err)
	if got["o"] != large {
		t.Errorf("%d bytes came back", len(got["o"]))
	}
}

// TestFullBucket: writes to a bucket wait for room.
func TestFullBucket(t *testing.T) {
	t.Parallel()
	ctx := natstest.Within(t)
	s := natstest.InProcess(t)
	c, said, _ := smallOn(t, s, "MP_RUNS", 1<<20)
	b, err := c.OpenBucket(ctx, jetstream.BucketConfig{Name: "mp-things"})
	natstest.Check(t, err)
	js, err := natsjs.New(s.Connect(t))
	natstest.Check(t, err)
	st, err := js.Stream(ctx, "KV_mp-things")
	natstest.Check(t, err)
	cfg := st.CachedInfo().Config
	cfg.MaxBytes = 512
	_, err = js.UpdateStream(ctx, cfg)
	natstest.Check(t, err)
	done := make(chan error, 1)
	var g sync.WaitGroup
	g.Go(func() {
		_, err := b.Put(ctx, "k", noise(900))
		done <- err
	})
	defer g.Wait()
	said.await(t, ctx, "no room", "KV_mp-things")
	cfg.MaxBytes = 1 << 20
	_, err = js.UpdateStream(ctx, cfg)
	natstest.Check(t, err)
	natstest.Check(t, natstest.Receive(t, ctx, done))
}
