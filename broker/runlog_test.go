package broker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

func TestAppendIsACompareAndSetOnTheSubject(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	first := natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "m", 0, claim()))
	if _, err := c.Runs.Append(ctx, "r", "m", 0, claim()); !errors.Is(err, broker.ErrConflict) {
		t.Fatalf("a second claim with the same expectation: %v", err)
	}
	natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "other", 0, claim()))
	second := natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "m", first, outcome()))
	last := natstest.Must[jobs.Entry](t)(c.Runs.Last(ctx, "r", "m"))
	if last.Sequence != second || last.Cell != "m" || last.Record.Outcome == nil || last.Time.IsZero() {
		t.Errorf("last of the cell: %+v", last)
	}
	if _, err := c.Runs.Last(ctx, "r", "never"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("the last of an empty cell: %v", err)
	}
}

func TestEveryRecordHasItsSubject(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	run := []struct {
		cell jobs.ModuleID
		rec  jobs.Record
	}{
		{"", jobs.Record{Spec: &jobs.Spec{Run: "r", Pipeline: &pipeline.Pipeline{Name: "p"}}}},
		{"", jobs.Record{Takeover: &jobs.Takeover{Epoch: 1, Orchestrator: "o"}}},
		{"m", claim()},
		{"m", outcome()},
		{"", jobs.Record{Cancel: &jobs.Cancel{ID: "c"}}},
		{"", jobs.Record{End: &jobs.End{Status: report.RunSucceeded}}},
	}
	expect := []uint64{0, 0, 0, 3, 0, 0}
	for i, r := range run {
		if seq := natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", r.cell, expect[i], r.rec)); seq != uint64(i+1) {
			t.Fatalf("record %d is at %d", i, seq)
		}
	}
	log := natstest.Must[[]jobs.Entry](t)(c.Runs.Read(ctx, "r"))
	for i, e := range log {
		if e.Sequence != uint64(i+1) || e.Cell != run[i].cell {
			t.Errorf("entry %d: %+v", i, e)
		}
		if diff := cmp.Diff(run[i].rec, e.Record); diff != "" {
			t.Error(diff)
		}
	}
	if len(log) != len(run) {
		t.Fatalf("%d entries", len(log))
	}
	if ended := natstest.Must[bool](t)(c.Runs.Ended(ctx, "r")); !ended {
		t.Error("it has ended")
	}
	if ended := natstest.Must[bool](t)(c.Runs.Ended(ctx, "s")); ended {
		t.Error("it has not ended")
	}
	natstest.Must[jobs.Entry](t)(c.Runs.LastCancel(ctx, "r"))
	if _, err := c.Runs.Read(ctx, "s"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("a missing run: %v", err)
	}
	runs := natstest.Must[[]broker.RunRow](t)(c.Runs.List(ctx, broker.Page{}))
	if len(runs) != 1 || runs[0].Pipeline != "p" || runs[0].Status == report.RunRunning || runs[0].Finished == nil {
		t.Errorf("runs: %+v", runs)
	}
	for _, bad := range []struct {
		cell jobs.ModuleID
		rec  jobs.Record
	}{{"", jobs.Record{}}, {"", claim()}, {"m", run[0].rec}, {"a.b", claim()}} {
		if _, err := c.Runs.Append(ctx, "r", bad.cell, 0, bad.rec); err == nil {
			t.Errorf("%+v in cell %q was written", bad.rec, bad.cell)
		}
	}
}

// followAgain follows a run from its start on every new connection, and skips
// entries that were already sent.
func followAgain(ctx context.Context, c *broker.Conn, run jobs.RunID, out chan<- jobs.Entry) error {
	var newest uint64
	for {
		entries := make(chan jobs.Entry)
		done := make(chan error, 1)
		go func() {
			done <- c.Runs.Follow(ctx, run, 0, entries)
			close(entries)
		}()
		for e := range entries {
			if e.Sequence <= newest {
				continue
			}
			newest = e.Sequence
			select {
			case out <- e:
			case <-ctx.Done():
			}
		}
		if err := <-done; !errors.Is(err, broker.ErrReconnected) {
			return err
		}
	}
}

func TestFollowFromTheStartMissesNothingOverCutsAndRestarts(t *testing.T) {
	t.Parallel()
	s := natstest.StartServer(t, nil)
	writer, reader := connect(t, s), connect(t, s)
	ctx := natstest.Within(t)
	out := make(chan jobs.Entry)
	natstest.Background(t, func(ctx context.Context) error { return followAgain(ctx, reader, "r", out) })
	written, n := make(chan error, 1), 3000
	go func() {
		for i := range n {
			if _, err := writer.Runs.Append(ctx, "r", jobs.ModuleID(fmt.Sprint("m", i)), 0, claim()); err != nil && !errors.Is(err, broker.ErrConflict) {
				written <- err
				return
			}
		}
		written <- nil
	}()
	for i := range n {
		e := natstest.Receive(t, ctx, out)
		if want := uint64(i + 1); e.Sequence != want || e.Cell != jobs.ModuleID(fmt.Sprint("m", i)) {
			t.Fatalf("entry %d is %d in cell %s", want, e.Sequence, e.Cell)
		}
		switch i {
		case n / 4, n / 2:
			s.CutClients()
		case n * 3 / 4:
			s.Restart(t)
		}
	}
	natstest.Check(t, <-written)
}

func TestFollowBeginsAfterASequence(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	for i := range 10 {
		natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", jobs.ModuleID(fmt.Sprint("m", i)), 0, claim()))
	}
	out := make(chan jobs.Entry)
	natstest.Background(t, func(ctx context.Context) error { return c.Runs.Follow(ctx, "r", 7, out) })
	if e := natstest.Receive(t, ctx, out); e.Sequence != 8 {
		t.Errorf("it begins at %d", e.Sequence)
	}
}

func TestLargeRecordTravelsByReference(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	var text strings.Builder
	for i := range 600_000 {
		fmt.Fprint(&text, i*i%7919)
	}
	rec := jobs.Record{Spec: &jobs.Spec{Run: "r", Commit: text.String()}}
	natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "", 0, rec))
	log := natstest.Must[[]jobs.Entry](t)(c.Runs.Read(ctx, "r"))
	if diff := cmp.Diff(rec, log[0].Record); diff != "" {
		t.Error("it came back otherwise")
	}
}

func TestLargeOutputs(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	small := map[string]string{"a": "1"}
	if o := natstest.Must[jobs.Value](t)(c.Values.Put(ctx, jobs.OutputsOf(small))); o.ByRef() || natstest.Must[map[string]string](t)(o.Outputs())["a"] != "1" {
		t.Errorf("small outputs: %+v", o)
	}
	large := map[string]string{"a": strings.Repeat("0123456789", 2_000_000), "b": "x"}
	o := natstest.Must[jobs.Value](t)(c.Values.Put(ctx, jobs.OutputsOf(large)))
	if o.Inline != nil || len(o.Ref.SHA256) != 64 {
		t.Fatalf("large outputs: %+v", o.Ref)
	}
	again := natstest.Must[jobs.Value](t)(c.Values.Put(ctx, jobs.OutputsOf(large)))
	if diff := cmp.Diff(o, again); diff != "" {
		t.Error(diff)
	}
	if got := natstest.Must[map[string]string](t)(c.Values.Outputs(ctx, o)); got["a"] != large["a"] || got["b"] != "x" {
		t.Error("they came back otherwise")
	}
	if _, err := c.Values.Outputs(ctx, jobs.Value{Ref: jobs.Blob{SHA256: strings.Repeat("0", 64)}}); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("a missing blob: %v", err)
	}
	huge := map[string]string{"a": strings.Repeat("x", jobs.MaxOutputs+1)}
	if _, err := c.Values.Put(ctx, jobs.OutputsOf(huge)); !errors.Is(err, broker.ErrTooLarge) {
		t.Errorf("too much: %v", err)
	}
}
