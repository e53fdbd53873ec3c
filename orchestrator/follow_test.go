package orchestrator_test

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/natstest"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/pipeline"
)

// door is the way of one client to a server; while it is shut there is none.
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
		_ = c.Close() // it is the other side that matters
	}
	d.inUse = nil
}

// TestFollowWaitsForOutputWhileNATSIsAway: an outcome has been heard of, and
// the connection goes before the output has that comes before it. However long
// it is away, none of the output is left out.
func TestFollowWaitsForOutputWhileNATSIsAway(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		d := &door{Server: s}
		dial := func(options ...nats.Option) *broker.Conn {
			c, err := broker.Connect(t.Context(), broker.Config{
				Name: "test", Options: options, Memory: true, Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		c, follower := dial(s.Options()...), dial(nats.InProcessServer(d))
		defer c.Close()
		defer follower.Close()
		file, err := pipeline.Parse("test.yaml", []byte("name: p\nmodules: {a: {run: 'true'}}\n"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := file.Bind(nil, func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		err = orchestrator.Submit(t.Context(), c, &jobs.Spec{Run: "r", Pipeline: p})
		write := func(cell jobs.Token, rec jobs.Record) {
			if err == nil {
				_, err = c.Append(t.Context(), "r", cell, 0, rec)
			}
		}
		key := jobs.Key{Token: jobs.Token(p.Modules[0].Token), Attempt: 1}
		write("", jobs.Record{Takeover: &jobs.Takeover{Epoch: 1, Orchestrator: "o"}})
		write(key.Token, jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: jobs.AttemptSucceeded, Worker: "w", Nonce: "n", LogChunks: 1, Started: time.Now()}})
		write("", jobs.Record{End: &jobs.End{Status: jobs.RunSucceeded}})
		if err != nil {
			t.Fatal(err)
		}
		d.set(false)
		restore := s.Divert(t, "$JS.API.CONSUMER.CREATE.MP_LOGS.>", "nobody.>")
		time.AfterFunc(5*time.Second, func() { d.set(true) })
		time.AfterFunc(time.Minute, func() {
			restore()
			chunk := jobs.LogChunk{Writer: "n", Number: 1, Time: time.Now(), Parts: []jobs.LogPart{{Data: []byte("the line\n")}}}
			if err := c.AppendLog(t.Context(), "r", key, chunk); err != nil {
				t.Error(err)
			}
			d.set(false)
		})
		var lines []string
		if _, err := orchestrator.Follow(t.Context(), follower, "r", true, func(e jobs.Event) {
			if e.Event == jobs.EventModuleOutput {
				lines = append(lines, e.Text)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if len(lines) != 1 || lines[0] != "the line" {
			t.Errorf("output: %q", lines)
		}
	})
}
