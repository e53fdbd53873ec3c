package client_test

import (
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// door connects one client to a server. While it is shut, connections fail.
type door struct {
	*natstest.Server

	mu    sync.Mutex
	shut  bool
	inUse []net.Conn
}

// InProcessConn implements nats.InProcessConnProvider.
func (d *door) InProcessConn() (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut {
		return nil, errors.New("the door is shut")
	}
	c, err := d.Server.InProcessConn()
	d.inUse = append(d.inUse, c)
	return c, err
}

func (d *door) set(shut bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = shut
	for _, c := range d.inUse {
		_ = c.Close() // the error does not matter: the peer sees the end
	}
	d.inUse = nil
}

// takenOver returns a run that an orchestrator has taken over, the connection of
// its writer, and that of a follower with the door of the latter.
func takenOver(t *testing.T, s *natstest.Server) (d *door, c, follower *broker.Conn, r *written) {
	t.Helper()
	d = &door{Server: s}
	c, follower = dial(t, s.Options()...), dial(t, nats.InProcessServer(d))
	r = submitted(t, c, "name: p\nmodules: {a: {run: 'true'}}\n")
	r.write("", jobs.Record{Takeover: &jobs.Takeover{Epoch: 1, Orchestrator: "o"}})
	return d, c, follower, r
}

// TestFollowWaitsForOutputWhileNATSIsAway: a follower has read an outcome and
// loses its connection before it has read the output that precedes the outcome.
// It waits for the output for as long as the connection is lost.
func TestFollowWaitsForOutputWhileNATSIsAway(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		d, c, follower, r := takenOver(t, s)
		defer c.Close()
		defer follower.Close()
		r.write(r.id.Module, jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded, Worker: "w", Nonce: "n", LogChunks: 1, Started: time.Now()}})
		r.write("", jobs.Record{End: &jobs.End{Status: report.RunSucceeded}})
		d.set(false)
		restore := s.Divert(t, "$JS.API.CONSUMER.CREATE.MP_LOGS.>", "unserved.>")
		time.AfterFunc(5*time.Second, func() { d.set(true) })
		time.AfterFunc(time.Minute, func() {
			restore()
			chunk := jobs.LogChunk{Writer: "n", Number: 1, Time: time.Now(), Parts: []jobs.LogPart{{Data: []byte("the line\n")}}}
			if err := c.Logs.Append(t.Context(), "r", r.id, chunk); err != nil {
				t.Error(err)
			}
			d.set(false)
		})
		var lines []string
		if _, err := client.New(follower).Follow(t.Context(), "r", client.FollowOptions{Output: true, Sink: func(e report.Event) {
			if e.Event == report.EventModuleOutput {
				lines = append(lines, e.Text)
			}
		}}); err != nil {
			t.Fatal(err)
		}
		if len(lines) != 1 || lines[0] != "the line" {
			t.Errorf("output: %q", lines)
		}
	})
}

// TestFollowContinuesAfterAReconnect: after a reconnect a follower reads the log
// of the run from the start. It does not repeat events, and it sends the output
// that arrives afterwards.
func TestFollowContinuesAfterAReconnect(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		d, c, follower, r := takenOver(t, s)
		defer c.Close()
		defer follower.Close()
		claim := r.write(r.id.Module, jobs.Record{Claim: &jobs.Claim{Attempt: 1, Worker: "w", Incarnation: "w", Nonce: "n", Started: time.Now()}})
		chunks := 0
		output := func(text string) {
			chunks++
			chunk := jobs.LogChunk{Writer: "n", Number: chunks, Time: time.Now(), Parts: []jobs.LogPart{{Data: []byte(text + "\n")}}}
			if err := c.Logs.Append(t.Context(), "r", r.id, chunk); err != nil {
				t.Error(err)
			}
		}
		output("before")
		time.AfterFunc(10*time.Second, func() { d.set(false) })
		time.AfterFunc(time.Minute, func() { output("after") })
		time.AfterFunc(2*time.Minute, func() {
			r.writeAfter(r.id.Module, claim, jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded, Worker: "w", Incarnation: "w", Nonce: "n", LogChunks: chunks, Started: time.Now()}})
			r.write("", jobs.Record{End: &jobs.End{Status: report.RunSucceeded}})
		})
		var got []string
		if _, err := client.New(follower).Follow(t.Context(), "r", client.FollowOptions{Output: true, Sink: func(e report.Event) {
			if e.Event == report.EventModuleOutput {
				got = append(got, e.Text)
			}
			if slices.Contains([]report.EventKind{report.EventModuleStarted, report.EventModuleEnded}, e.Event) {
				got = append(got, string(e.Event))
			}
		}}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{string(report.EventModuleStarted), "before", "after", string(report.EventModuleEnded)}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func dial(t *testing.T, options ...nats.Option) *broker.Conn {
	t.Helper()
	c, err := broker.Connect(t.Context(), broker.Config{
		Name: "test", Options: options, Memory: true, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// written is the log of a run of one module. The test writes it.
type written struct {
	t  *testing.T
	c  *broker.Conn
	id jobs.AttemptID // of the module's first attempt
}

func submitted(t *testing.T, c *broker.Conn, src string) *written {
	t.Helper()
	file, err := pipeline.Parse("test.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	p, err := file.Bind(nil, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	if err := client.New(c).Submit(t.Context(), &jobs.Spec{Run: "r", Pipeline: p}); err != nil {
		t.Fatal(err)
	}
	return &written{t, c, jobs.AttemptID{Module: jobs.ModuleID(p.Modules[0].Token), Attempt: 1}}
}

// write appends the first record of a cell, or a record without a cell.
func (w *written) write(cell jobs.ModuleID, rec jobs.Record) uint64 {
	return w.writeAfter(cell, 0, rec)
}

func (w *written) writeAfter(cell jobs.ModuleID, expect uint64, rec jobs.Record) uint64 {
	w.t.Helper()
	seq, err := w.c.Runs.Append(w.t.Context(), "r", cell, expect, rec)
	if err != nil {
		w.t.Error(err)
	}
	return seq
}
