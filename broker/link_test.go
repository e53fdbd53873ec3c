package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/faultproxy"
	"github.com/modpipe/modpipe/test/natstest"
)

// slow is a connection over a link of a rate in bits a second, and one beside
// the server.
func slow(t *testing.T, bits int, delay time.Duration) (far, near *broker.Conn, link *faultproxy.Proxy) {
	t.Helper()
	s := natstest.StartServer(t, nil)
	near = connect(t, s)
	link = natstest.Must[*faultproxy.Proxy](t)(faultproxy.New(t.Context(), strings.TrimPrefix(s.URL(), "nats://")))
	natstest.Background(t, link.Run)
	cfg := config(t, s)
	cfg.URL = "nats://" + link.Addr()
	far = natstest.Must[*broker.Conn](t)(broker.Connect(natstest.Within(t), cfg))
	t.Cleanup(far.Close)
	link.Set(faultproxy.Fault{Rate: bits / 8, Latency: delay})
	return far, near, link
}

// scramble is text that cannot be compressed.
func scramble(bytes int) string {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // not secret
	var b strings.Builder
	for b.Len() < bytes {
		fmt.Fprintf(&b, "%016x", r.Uint64())
	}
	return b.String()[:bytes]
}

// beats counts what gets through beside a transfer until stop is called.
func beats(t *testing.T, ctx context.Context, c *broker.Conn) (count func() int64) {
	t.Helper()
	b := natstest.Must[*jetstream.Bucket](t)(c.OpenBucket(ctx, jetstream.BucketConfig{Name: "mp-beats", Memory: true}))
	var n atomic.Int64
	natstest.Background(t, func(ctx context.Context) error { //nolint:contextcheck // its own
		for ctx.Err() == nil {
			if _, err := b.Put(ctx, "k", []byte("v")); err == nil {
				n.Add(1)
			}
		}
		return nil
	})
	return n.Load
}

// TestHeartbeatsOvertakeATransfer: on a link of 1 Mbit/s, short messages are answered
// many times while a value of 1 MB is on its way, in both directions.
func TestHeartbeatsOvertakeATransfer(t *testing.T) {
	t.Parallel()
	far, near, _ := slow(t, 1_000_000, 0)
	ctx := natstest.Within(t)
	count := beats(t, ctx, far)
	value := map[string]string{"v": scramble(1 << 20)}
	before := count()
	sent := natstest.Must[jobs.Value](t)(far.Values.Put(ctx, jobs.OutputsOf(value)))
	up := count() - before
	got := natstest.Must[map[string]string](t)(near.Values.Outputs(ctx, sent))
	if got["v"] != value["v"] {
		t.Error("another value arrived")
	}
	before = count()
	got = natstest.Must[map[string]string](t)(far.Values.Outputs(ctx, sent))
	down := count() - before
	if got["v"] != value["v"] {
		t.Error("another value came back")
	}
	if up < 5 || down < 5 {
		t.Errorf("%d beats got through on the way there, %d on the way back", up, down)
	}
}

func TestTransferContinuesAfterACut(t *testing.T) {
	t.Parallel()
	far, near, link := slow(t, 8_000_000, 0)
	ctx := natstest.Within(t)
	value := map[string]string{"v": scramble(2 << 20)}
	stored := make(chan jobs.Value, 1)
	go func() {
		o, err := far.Values.Put(ctx, jobs.OutputsOf(value))
		if err != nil {
			t.Error(err)
		}
		stored <- o
	}()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	var sent jobs.Value
	for cuts := 0; sent.Ref.SHA256 == ""; {
		select {
		case sent = <-stored:
		case <-tick.C:
			if cuts++; cuts <= 3 {
				link.Reset()
			}
		case <-ctx.Done():
			t.Fatal("it never arrives")
		}
	}
	if got := natstest.Must[map[string]string](t)(near.Values.Outputs(ctx, sent)); got["v"] != value["v"] {
		t.Error("another value arrived")
	}
}

func TestOutputKeepsItsOrderWhenChunksAreSentAgain(t *testing.T) {
	t.Parallel()
	far, near, link := slow(t, 20_000_000, 20*time.Millisecond)
	ctx := natstest.Within(t)
	id := jobs.AttemptID{Module: "m", Attempt: 1}
	const chunks = 60
	var waits []func(context.Context) error
	for n := 1; n <= chunks; n++ {
		chunk := jobs.LogChunk{Writer: "w", Number: n, Time: time.Now(), Parts: []jobs.LogPart{{Stream: jobs.Stdout, Data: []byte(scramble(8 << 10))}}}
		waits = append(waits, natstest.Must[func(context.Context) error](t)(far.Logs.Send(ctx, "r", id, chunk)))
		if n%20 == 0 {
			link.Reset()
		}
	}
	for _, wait := range waits {
		natstest.Check(t, wait(ctx))
	}
	var numbers []int
	natstest.Check(t, near.Logs.Read(ctx, "r", "m", 1, func(e broker.LogEntry) error {
		if !bytes.Equal(e.Chunk.Parts[0].Data, []byte(scramble(8<<10))) {
			t.Error("another text arrived")
		}
		numbers = append(numbers, e.Chunk.Number)
		return nil
	}))
	for i, n := range numbers {
		if n != i+1 {
			t.Fatalf("chunks came as %v", numbers)
		}
	}
	if len(numbers) != chunks {
		t.Errorf("%d chunks", len(numbers))
	}
}

func TestReaderRestoresTheOrderOfChunks(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	id := jobs.AttemptID{Module: "m", Attempt: 1}
	for _, n := range []int{2, 3, 1, 3, 5, 4, 7} { // 6 is gone for good
		natstest.Check(t, c.Logs.Append(ctx, "r", id, jobs.LogChunk{Writer: "w", Number: n, Time: time.Now(), Parts: []jobs.LogPart{{Data: []byte("x")}}}))
	}
	var numbers []int
	natstest.Check(t, c.Logs.Read(ctx, "r", "m", 1, func(e broker.LogEntry) error {
		numbers = append(numbers, e.Chunk.Number)
		return nil
	}))
	if fmt.Sprint(numbers) != "[1 2 3 4 5 7]" {
		t.Errorf("they come as %v", numbers)
	}
}

// TestManyReadersOfASlowLinkReadEachByteOnce: twelve values of 300 kB over
// 1 Mbit/s. Each needs two consumers at most, because no reader gives up while its
// data waits behind that of others.
func TestManyReadersOfASlowLinkReadEachByteOnce(t *testing.T) {
	t.Parallel()
	far, near, _ := slow(t, 1_000_000, 100*time.Millisecond)
	asked := counted(t, near, "$JS.API.CONSUMER.CREATE.OBJ_mp-blobs.>")
	const values = 12
	ctx := natstest.Within(t)
	var readers errgroup.Group
	for i := range values {
		value := scramble(300_000 + i)
		sent := natstest.Must[jobs.Value](t)(near.Values.Put(ctx, jobs.OutputsOf(map[string]string{"v": value})))
		readers.Go(func() error {
			got, err := far.Values.Outputs(ctx, sent)
			if err == nil && got["v"] != value {
				err = errors.New("another value arrived")
			}
			return err
		})
	}
	natstest.Check(t, readers.Wait())
	if n := asked(); n > 2*values {
		t.Errorf("%d consumers for %d values", n, values)
	}
}

// TestLongValueArrivesOverASlowLink: 3 MB over 1 Mbit/s at 200 ms of round trip
// arrive on one connection.
func TestLongValueArrivesOverASlowLink(t *testing.T) {
	t.Parallel()
	far, near, _ := slow(t, 1_000_000, 100*time.Millisecond)
	value := scramble(3_000_000)
	sent := natstest.Must[jobs.Value](t)(near.Values.Put(natstest.Within(t), jobs.OutputsOf(map[string]string{"v": value})))
	asked := counted(t, near, "$JS.API.CONSUMER.CREATE.OBJ_mp-blobs.>")
	if got := natstest.Must[map[string]string](t)(far.Values.Outputs(natstest.Within(t), sent)); got["v"] != value {
		t.Error("another value arrived")
	}
	if n := asked(); n > 12 {
		t.Errorf("%d consumers for one value", n)
	}
}

// TestShortChunksOfOutputAreReadTogether: output that was written line by line
// needs few questions, each of which takes a round trip.
func TestShortChunksOfOutputAreReadTogether(t *testing.T) {
	t.Parallel()
	far, near, _ := slow(t, 100_000_000, 0)
	ctx := natstest.Within(t)
	id := jobs.AttemptID{Module: "m", Attempt: 1}
	const chunks = 3000
	var waits []func(context.Context) error
	for n := 1; n <= chunks; n++ {
		chunk := jobs.LogChunk{Writer: "w", Number: n, Time: time.Now(), Parts: []jobs.LogPart{{Stream: jobs.Stdout, Data: []byte("line\n")}}}
		waits = append(waits, natstest.Must[func(context.Context) error](t)(near.Logs.Send(ctx, "r", id, chunk)))
	}
	for _, wait := range waits {
		natstest.Check(t, wait(ctx))
	}
	asked := counted(t, near, "$JS.API.CONSUMER.CREATE.MP_LOGS.>")
	n := 0
	natstest.Check(t, far.Logs.Read(ctx, "r", "m", 1, func(broker.LogEntry) error {
		n++
		return nil
	}))
	if n != chunks {
		t.Errorf("%d chunks are read", n)
	}
	if n := asked(); n > 10 {
		t.Errorf("%d consumers for %d short chunks", n, chunks)
	}
}

// counted counts the messages on a subject from now on.
func counted(t *testing.T, c *broker.Conn, subject string) (count func() int64) {
	t.Helper()
	var n atomic.Int64
	sub, err := c.Subscribe(subject, func(*nats.Msg) { n.Add(1) })
	natstest.Check(t, err)
	natstest.Check(t, c.Ping(natstest.Within(t)))
	return func() int64 {
		natstest.Check(t, c.Ping(natstest.Within(t)))
		natstest.Check(t, sub.Unsubscribe())
		return n.Load()
	}
}
