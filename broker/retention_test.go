package broker_test

import (
	"errors"
	"testing"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// logOf writes the log of an ended run with one module.
func logOf(t *testing.T, c *broker.Conn, run jobs.RunID) (claimed uint64) {
	t.Helper()
	ctx := natstest.Within(t)
	seq := natstest.Must[uint64](t)
	seq(c.Runs.Append(ctx, run, "", 0, spec(run)))
	seq(c.Runs.Append(ctx, run, "", 0, jobs.Record{Takeover: &jobs.Takeover{Epoch: 1}}))
	claimed = seq(c.Runs.Append(ctx, run, "m", 0, claim()))
	seq(c.Runs.Append(ctx, run, "m", claimed, outcome()))
	natstest.Check(t, c.Logs.Append(ctx, run, jobs.AttemptID{Module: "m", Attempt: 1}, jobs.LogChunk{Writer: "n", Number: 1}))
	return claimed
}

func end(t *testing.T, c *broker.Conn, run jobs.RunID) {
	t.Helper()
	natstest.Must[uint64](t)(c.Runs.Append(natstest.Within(t), run, "", 0, jobs.Record{End: &jobs.End{Status: report.RunSucceeded}}))
}

// TestDropRun: only the end of a dropped run remains, and other runs lose nothing.
func TestDropRun(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	claimed := logOf(t, c, "old")
	logOf(t, c, "old-er")
	logOf(t, c, "open")
	end(t, c, "old")
	if err := c.Runs.Drop(ctx, "open"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("dropping what has not ended: %v", err)
	}
	natstest.Check(t, c.Runs.Drop(ctx, "old"))
	natstest.Check(t, c.Runs.Drop(ctx, "old"))

	var dropped *broker.DroppedError
	if _, err := c.Runs.Read(ctx, "old"); !errors.As(err, &dropped) || dropped.End.Status != report.RunSucceeded || dropped.Ended.IsZero() {
		t.Errorf("reading it: %v", err)
	}
	if err := c.Runs.Dropped(ctx, "old"); !errors.As(err, &dropped) {
		t.Errorf("asking for it: %v", err)
	}
	if ended := natstest.Must[bool](t)(c.Runs.Ended(ctx, "old")); !ended {
		t.Error("its end is gone")
	}
	for _, run := range []jobs.RunID{"open", "old-er", "never"} {
		if err := c.Runs.Dropped(ctx, run); err != nil {
			t.Errorf("%s: %v", run, err)
		}
	}
	for _, run := range []jobs.RunID{"open", "old-er"} {
		if log := natstest.Must[[]jobs.Entry](t)(c.Runs.Read(ctx, run)); len(log) != 4 {
			t.Errorf("%s has %d records left of 4", run, len(log))
		}
	}
	chunks := 0
	natstest.Check(t, c.Logs.Read(ctx, "old", "", 0, func(broker.LogEntry) error { chunks++; return nil }))
	if chunks != 0 {
		t.Errorf("%d chunks of its output are left", chunks)
	}
	if runs := natstest.Must[[]broker.RunRow](t)(c.Runs.List(ctx, broker.Page{})); len(runs) != 2 {
		t.Errorf("%d runs are listed, want 2", len(runs))
	}

	// A late writer expects the sequence of a removed claim.
	if _, err := c.Runs.Append(ctx, "old", "m", claimed, outcome()); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("a late outcome: %v", err)
	}
	// The cell accepts an outcome without a claim, and no reader takes it.
	natstest.Must[uint64](t)(c.Runs.Append(ctx, "old", "m", 0, outcome()))
	if _, err := c.Runs.Read(ctx, "old"); !errors.As(err, &dropped) {
		t.Errorf("reading it after a late record: %v", err)
	}
	natstest.Check(t, c.Runs.Forget(ctx, "old"))
	if _, err := c.Runs.Read(ctx, "old"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("reading a forgotten run: %v", err)
	}
}

// TestReadersOfADroppedLogEnd: a log of output is dropped while a slow reader reads
// it. The reader does not wait for the chunks that the server has not sent yet.
func TestReadersOfADroppedLogEnd(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	logOf(t, c, "r")
	end(t, c, "r")
	const chunks = 100
	for n := range chunks { // far more than is sent ahead
		chunk := jobs.LogChunk{Writer: "n", Number: n + 2, Parts: []jobs.LogPart{{Data: noise(100 << 10)}}}
		natstest.Check(t, c.Logs.Append(ctx, "r", jobs.AttemptID{Module: "m", Attempt: 1}, chunk))
	}
	read := 0
	natstest.Check(t, c.Logs.Read(ctx, "r", "", 0, func(broker.LogEntry) error {
		if read++; read > 1 {
			return nil
		}
		return c.Runs.Drop(ctx, "r")
	}))
	if read > chunks {
		t.Error("all of it was sent before it was dropped")
	}
}
