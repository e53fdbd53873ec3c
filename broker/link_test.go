package broker_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/faultproxy"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/natstest"
)

// slow is a connection over a link of a rate in bits a second, and one beside
// the server.
func slow(t *testing.T, bits int, delay time.Duration) (far, near *broker.Conn, link *faultproxy.Proxy) {
	t.Helper()
	s := natstest.StartServer(t, nil)
	near = connect(t, s)
	link = must[*faultproxy.Proxy](t)(faultproxy.New(t.Context(), strings.TrimPrefix(s.URL(), "nats://")))
	background(t, link.Run)
	cfg := config(t, s)
	cfg.URL = "nats://" + link.Addr()
	far = must[*broker.Conn](t)(broker.Connect(within(t), cfg))
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
	b := must[*broker.Bucket](t)(c.OpenBucket(ctx, broker.BucketConfig{Kind: "beats", Memory: true}))
	var n atomic.Int64
	background(t, func(ctx context.Context) error { //nolint:contextcheck // its own
		for ctx.Err() == nil {
			if _, err := b.Put(ctx, "k", []byte("v")); err == nil {
				n.Add(1)
			}
		}
		return nil
	})
	return n.Load
}

// TestBeatsOvertakeATransfer: on a link of 1 Mbit/s, what is short is answered
// many times while a value of 1 MB is on its way, in both directions.
func TestBeatsOvertakeATransfer(t *testing.T) {
	t.Parallel()
	far, near, _ := slow(t, 1_000_000, 0)
	ctx := within(t)
	count := beats(t, ctx, far)
	value := map[string]string{"v": scramble(1 << 20)}
	before := count()
	sent := must[jobs.Outputs](t)(far.PutOutputs(ctx, value))
	up := count() - before
	got := must[map[string]string](t)(near.Outputs(ctx, sent))
	if got["v"] != value["v"] {
		t.Error("another value arrived")
	}
	before = count()
	got = must[map[string]string](t)(far.Outputs(ctx, sent))
	down := count() - before
	if got["v"] != value["v"] {
		t.Error("another value came back")
	}
	if up < 5 || down < 5 {
		t.Errorf("%d beats got through on the way there, %d on the way back", up, down)
	}
}

func TestATransferGoesOnOverACut(t *testing.T) {
	t.Parallel()
	far, near, link := slow(t, 8_000_000, 0)
	ctx := within(t)
	value := map[string]string{"v": scramble(2 << 20)}
	stored := make(chan jobs.Outputs, 1)
	go func() {
		o, err := far.PutOutputs(ctx, value)
		if err != nil {
			t.Error(err)
		}
		stored <- o
	}()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	var sent jobs.Outputs
	for cuts := 0; sent.Blob.SHA256 == ""; {
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
	if got := must[map[string]string](t)(near.Outputs(ctx, sent)); got["v"] != value["v"] {
		t.Error("another value arrived")
	}
}

func TestOutputKeepsItsOrderWhenChunksAreSentAgain(t *testing.T) {
	t.Parallel()
	far, near, link := slow(t, 20_000_000, 20*time.Millisecond)
	ctx := within(t)
	key := jobs.Key{Token: "m", Attempt: 1}
	const chunks = 60
	var waits []func(context.Context) error
	for n := 1; n <= chunks; n++ {
		chunk := jobs.LogChunk{Writer: "w", Number: n, Time: time.Now(), Parts: []jobs.LogPart{{Stream: jobs.Stdout, Data: []byte(scramble(8 << 10))}}}
		waits = append(waits, must[func(context.Context) error](t)(far.SendLog(ctx, "r", key, chunk)))
		if n%20 == 0 {
			link.Reset()
		}
	}
	for _, wait := range waits {
		check(t, wait(ctx))
	}
	var numbers []int
	check(t, near.ReadLogs(ctx, "r", "m", 1, func(e broker.LogEntry) error {
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

func TestAReaderPutsChunksInOrder(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := within(t)
	key := jobs.Key{Token: "m", Attempt: 1}
	for _, n := range []int{2, 3, 1, 3, 5, 4, 7} { // 6 is gone for good
		check(t, c.AppendLog(ctx, "r", key, jobs.LogChunk{Writer: "w", Number: n, Time: time.Now(), Parts: []jobs.LogPart{{Data: []byte("x")}}}))
	}
	var numbers []int
	check(t, c.ReadLogs(ctx, "r", "m", 1, func(e broker.LogEntry) error {
		numbers = append(numbers, e.Chunk.Number)
		return nil
	}))
	if fmt.Sprint(numbers) != "[1 2 3 4 5 7]" {
		t.Errorf("they come as %v", numbers)
	}
}
