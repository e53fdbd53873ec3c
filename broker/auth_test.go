package broker_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// taken submits a run and takes it over with the signing key of a connection.
func taken(t *testing.T, c *broker.Conn, run jobs.RunID) (runKey signing.Key) {
	t.Helper()
	ctx := natstest.Within(t)
	natstest.Must[uint64](t)(c.Runs.Append(ctx, run, "", 0, spec(run)))
	natstest.Must[uint64](t)(c.Runs.Append(ctx, run, "", 0, jobs.Record{Takeover: &jobs.Takeover{Epoch: 1, Orchestrator: "o", Key: c.Keys().ID()}}))
	return c.Keys().RunKey(c.Keys().ID(), run)
}

// copied publishes a stored message again on another subject, with its headers.
func copied(t *testing.T, c *broker.Conn, stream, from, to string) {
	t.Helper()
	ctx := natstest.Within(t)
	m, err := c.Last(ctx, stream, from)
	natstest.Check(t, err)
	again := &nats.Msg{Subject: to, Data: m.Data, Header: nats.Header{}}
	for name, values := range m.Header {
		if name[:3] == "Mp-" {
			again.Header[name] = values
		}
	}
	natstest.Must[uint64](t)(c.Store(ctx, again))
}

// TestRecordsVerifyByTheKeyOfTheirRun: records of cells count as signed only with the
// key of their attempt, on the subject for which they were signed. Readers without the
// key of the run cannot tell.
func TestRecordsVerifyByTheKeyOfTheirRun(t *testing.T) {
	t.Parallel()
	s := natstest.InProcess(t)
	plain := connect(t, s)
	c := plain.WithKeys(natstest.Keys(t, 1))
	ctx := natstest.Within(t)
	natstest.Must[uint64](t)(plain.Runs.Append(ctx, "r", "early", 0, claim()))
	run := taken(t, c, "r")
	key := func(module jobs.ModuleID, attempt jobs.Attempt) signing.Key {
		return signing.AttemptKey(run, module, attempt)
	}
	outcome := func(attempt jobs.Attempt, text string) jobs.Record {
		return jobs.Record{Outcome: &jobs.Outcome{Attempt: attempt, Status: report.AttemptFailed, Error: text}}
	}
	want := map[jobs.ModuleID]jobs.Authenticity{"early": jobs.Forged}
	write := func(module jobs.ModuleID, signed *broker.Runs, rec jobs.Record, auth jobs.Authenticity) {
		natstest.Must[uint64](t)(signed.Append(ctx, "r", module, 0, rec))
		want[module] = auth
	}
	long := make([]byte, 300<<10)
	for i := range long {
		long[i] = byte('a' + i*i%23)
	}
	write("claim", c.Runs.ForAttempt(key("claim", 1)), claim(), jobs.Verified)
	write("outcome", c.Runs.ForAttempt(key("outcome", 2)), outcome(2, "short"), jobs.Verified)
	write("long", c.Runs.ForAttempt(key("long", 2)), outcome(2, string(long)), jobs.Verified)
	write("orchestrator", c.Runs.ForRun(run), outcome(3, "lost"), jobs.Verified)
	write("none", c.Runs.ForRun(run), outcome(0, "skipped"), jobs.Verified)
	write("unsigned", plain.Runs, outcome(1, ""), jobs.Forged)
	write("other-attempt", c.Runs.ForAttempt(key("other-attempt", 1)), outcome(2, ""), jobs.Forged)
	write("other-module", c.Runs.ForAttempt(key("claim", 1)), outcome(1, ""), jobs.Forged)
	write("no-attempt", c.Runs.ForAttempt(key("no-attempt", 1)), outcome(0, ""), jobs.Forged)
	write("run-key", c.Runs.ForAttempt(run), outcome(1, ""), jobs.Forged)
	copied(t, c, "MP_RUNS", "mp.run.r.mod.outcome", "mp.run.r.mod.copied")
	want["copied"] = jobs.Forged

	check := func(name string, log []jobs.Entry, want func(jobs.ModuleID) jobs.Authenticity) {
		t.Helper()
		cells := 0
		for _, e := range log {
			if e.Unread != nil {
				t.Errorf("%s: %s: %v", name, e.Cell, e.Unread)
			}
			if e.Cell == "" && e.Auth != jobs.Unverified {
				t.Errorf("%s: a record of the run itself has authenticity %d", name, e.Auth)
			}
			if e.Cell == "" {
				continue
			}
			cells++
			if w := want(e.Cell); e.Auth != w {
				t.Errorf("%s: %s has authenticity %d, want %d", name, e.Cell, e.Auth, w)
			}
		}
		if cells == 0 {
			t.Errorf("%s: no records", name)
		}
	}
	read := natstest.Must[[]jobs.Entry](t)
	check("with the key", read(c.Runs.Read(ctx, "r")), func(m jobs.ModuleID) jobs.Authenticity { return want[m] })
	unknown := func(jobs.ModuleID) jobs.Authenticity { return jobs.Unverified }
	check("without keys", read(plain.Runs.Read(ctx, "r")), unknown)
	check("with another key", read(plain.WithKeys(natstest.Keys(t, 2)).Runs.Read(ctx, "r"))[1:], unknown)

	out := make(chan jobs.Entry, 100)
	natstest.Background(t, func(ctx context.Context) error { return c.Runs.Follow(ctx, "r", 4, out) })
	var followed []jobs.Entry
	for range len(want) - 2 { // early, and the first claim
		followed = append(followed, natstest.Receive(t, ctx, out))
	}
	check("from the middle", followed, func(m jobs.ModuleID) jobs.Authenticity { return want[m] })

	for module, auth := range map[jobs.ModuleID]jobs.Authenticity{"claim": jobs.Verified, "unsigned": jobs.Forged} {
		e, err := c.Runs.ForAttempt(key(module, 1)).OwnLast(ctx, "r", module)
		if err != nil || e.Auth != auth {
			t.Errorf("the worker reads %s with authenticity %d, %v; want %d", module, e.Auth, err, auth)
		}
	}
}

// TestForgedOutputIsLeftOut where the reader has the key. A forged chunk does not take
// the place of the one that the worker sends afterwards.
func TestForgedOutputIsLeftOut(t *testing.T) {
	t.Parallel()
	s := natstest.InProcess(t)
	plain := connect(t, s)
	c := plain.WithKeys(natstest.Keys(t, 1))
	ctx := natstest.Within(t)
	run := taken(t, c, "r")
	id := jobs.AttemptID{Module: "m", Attempt: 1}
	chunk := func(n int, text string) jobs.LogChunk {
		return jobs.LogChunk{Writer: "w", Number: n, Time: time.Now(), Parts: []jobs.LogPart{{Stream: jobs.Stdout, Data: []byte(text)}}}
	}
	worker := c.Logs.ForAttempt(signing.AttemptKey(run, id.Module, id.Attempt))
	other := c.Logs.ForAttempt(signing.AttemptKey(run, id.Module, 2))
	natstest.Check(t, worker.Append(ctx, "r", id, chunk(1, "one ")))
	natstest.Check(t, plain.Logs.Append(ctx, "r", id, chunk(2, "forged ")))
	natstest.Check(t, other.Append(ctx, "r", id, chunk(2, "stolen ")))
	copied(t, c, "MP_LOGS", "mp.log.r.m.1", "mp.log.r.n.1")
	natstest.Check(t, worker.Append(ctx, "r", id, chunk(2, "two ")))
	natstest.Check(t, worker.Append(ctx, "r", id, chunk(2, "two ")))
	for name, tc := range map[string]struct {
		c    *broker.Conn
		want string
	}{
		"with the key":     {c, "one two "},
		"without keys":     {plain, "one forged stolen "}, // of equal numbers the first counts
		"with another key": {plain.WithKeys(natstest.Keys(t, 2)), "one forged stolen "},
	} {
		text := ""
		natstest.Check(t, tc.c.Logs.Read(ctx, "r", "", 0, func(e broker.LogEntry) error {
			if e.Unread != nil {
				t.Errorf("%s: %v", name, e.Unread)
			}
			for _, p := range e.Chunk.Parts {
				text += string(p.Data)
			}
			return nil
		}))
		if text != tc.want {
			t.Errorf("%s: %q, want %q", name, text, tc.want)
		}
	}
}
