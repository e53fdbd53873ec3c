package broker_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// onSmall connects to a server with this max_payload.
func onSmall(t *testing.T, most int32) (*broker.Conn, error) {
	t.Helper()
	s := natstest.StartServer(t, func(o *server.Options) { o.MaxPayload = most })
	c, err := broker.Connect(t.Context(), config(t, s))
	if err == nil {
		t.Cleanup(c.Close)
	}
	return c, err
}

// TestServerWithASmallPayloadIsRefused: the error names the server's limit and the
// required one.
func TestServerWithASmallPayloadIsRefused(t *testing.T) {
	t.Parallel()
	_, err := onSmall(t, jetstream.LeastPayload-1)
	if !errors.Is(err, broker.ErrTooLarge) || !strings.Contains(err.Error(), "at most 127 KiB (max_payload), and modpipe needs 128") {
		t.Errorf("%v", err)
	}
}

// longText returns text that compresses to three quarters at best.
func longText(n int) string {
	b := noise(n)
	for i := range b {
		b[i] = ' ' + b[i]%90
	}
	return string(b)
}

// TestLongRecords: records of all kinds can be longer than the server's messages.
func TestLongRecords(t *testing.T) {
	t.Parallel()
	c, err := onSmall(t, jetstream.LeastPayload)
	natstest.Check(t, err)
	ctx := natstest.Within(t)
	long := longText(300 << 10)
	var combinations [][]pipeline.Coordinate
	for i := range 10_000 {
		combinations = append(combinations, []pipeline.Coordinate{{Axis: "x", Value: long[i*30 : i*30+30]}})
	}
	inline := natstest.Must[jobs.Value](t)(c.Values.Put(ctx, jobs.OutputsOf(map[string]string{"o": longText(broker.InlineLimit - 100)})))
	records := map[string]jobs.Record{
		"spec":      {Spec: &jobs.Spec{Run: "r-spec", Pipeline: &pipeline.Pipeline{Name: "p"}, Labels: map[string]string{"l": long}}},
		"outcome":   {Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptFailed, Error: longText(broker.InlineLimit), Outputs: inline}},
		"warnings":  {Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded, Warnings: []string{long}}},
		"expansion": {Expansion: &jobs.Expansion{Module: "m", Combinations: combinations}},
		"nobody":    {Nobody: &jobs.LaneUnserved{Lane: "any", Missing: long}},
		"cancel":    {Cancel: &jobs.Cancel{ID: "c", Reason: long}},
		"end":       {End: &jobs.End{Status: report.RunFailed, Error: long}},
	}
	for name, rec := range records {
		t.Run(name, func(t *testing.T) {
			run := jobs.RunID("r-" + name)
			cell := jobs.ModuleID("")
			if rec.Outcome != nil {
				cell = "m"
			}
			if rec.Spec == nil {
				natstest.Must[uint64](t)(c.Runs.Append(ctx, run, "", 0, spec(run)))
			}
			natstest.Must[uint64](t)(c.Runs.Append(ctx, run, cell, 0, rec))
			log := natstest.Must[[]jobs.Entry](t)(c.Runs.Read(ctx, run))
			if diff := cmp.Diff(rec, log[len(log)-1].Record); diff != "" {
				t.Errorf("it comes back otherwise:\n%.500s", diff)
			}
		})
	}
}

// TestLongValues: results and chunks of output can have any length.
func TestLongValues(t *testing.T) {
	t.Parallel()
	c, err := onSmall(t, jetstream.LeastPayload)
	natstest.Check(t, err)
	ctx := natstest.Within(t)
	for _, n := range []int{broker.InlineLimit - 100, broker.InlineLimit + 1, jetstream.LeastPayload, 900 << 10, 3 << 20} {
		o := natstest.Must[jobs.Value](t)(c.Values.Put(ctx, jobs.OutputsOf(map[string]string{"o": longText(n)})))
		if got := natstest.Must[map[string]string](t)(c.Values.Outputs(ctx, o)); got["o"] != longText(n) {
			t.Errorf("of %d bytes %d come back", n, len(got["o"]))
		}
		r := natstest.Must[jobs.Value](t)(c.Values.Put(ctx, jobs.ResultOf(noise(n))))
		if got := natstest.Must[jobs.Value](t)(c.Values.Load(ctx, r)).Inline; string(got) != string(noise(n)) {
			t.Errorf("of a result of %d bytes %d come back", n, len(got))
		}
		if n > jobs.MaxSmall {
			continue // than a chunk
		}
		chunk := jobs.LogChunk{Writer: "w", Number: 1, Parts: []jobs.LogPart{{Data: noise(n)}}}
		run := jobs.RunID(fmt.Sprintf("r%d", n))
		natstest.Check(t, c.Logs.Append(ctx, run, jobs.AttemptID{Module: "m", Attempt: 1}, chunk))
		chunks := 0
		natstest.Check(t, c.Logs.Read(ctx, run, "", 0, func(e broker.LogEntry) error {
			chunks++
			if string(e.Chunk.Parts[0].Data) != string(noise(n)) {
				t.Errorf("of a chunk of %d bytes %d come back", n, len(e.Chunk.Parts[0].Data))
			}
			return nil
		}))
		if chunks != 1 {
			t.Errorf("%d chunks", chunks)
		}
	}
}

// TestLongJobs: a job with a long environment and with the results of many
// needs arrives. A job that exceeds the limit is refused.
func TestLongJobs(t *testing.T) {
	t.Parallel()
	c, err := onSmall(t, jetstream.LeastPayload)
	natstest.Check(t, err)
	ctx := natstest.Within(t)
	needs := map[string]jobs.Need{}
	for i := range 50 {
		needs[fmt.Sprintf("n%d", i)] = jobs.Need{Status: "succeeded", Outputs: jobs.OutputsOf(map[string]string{"o": longText(60<<10 - i)})}
	}
	natstest.Check(t, c.Queue.EnsureLane(ctx, "any"))
	long := job("m")
	long.Needs = needs
	publish(t, ctx, c, long)
	d := natstest.Receive(t, ctx, pull(t, c, "any", 1))
	if diff := cmp.Diff(needs, d.Job.Needs); diff != "" {
		t.Errorf("it comes otherwise:\n%.500s", diff)
	}
	natstest.Check(t, d.Ack())
	for i := range 1200 {
		needs[fmt.Sprintf("n%d", i)] = needs["n0"]
	}
	long.Attempt = 2
	done := make(chan error, 1)
	c.Queue.Publish(ctx, long, func(err error) { done <- err })
	if err := natstest.Receive(t, ctx, done); !errors.Is(err, broker.ErrTooLarge) || !strings.Contains(err.Error(), "64 MiB") {
		t.Errorf("a job longer than any message: %v", err)
	}
}
