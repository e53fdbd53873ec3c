package orchestrator_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/test/natstest"
	"github.com/modpipe/modpipe/worker"
)

// recorder is a log handler that sends its messages to a channel.
type recorder struct {
	slog.Handler
	warnings chan string
}

func (h recorder) Enabled(context.Context, slog.Level) bool { return true }
func (h recorder) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h recorder) WithGroup(string) slog.Handler            { return h }
func (h recorder) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	select {
	case h.warnings <- text:
	default: // no test waits for so many
	}
	return nil
}

// await returns when a message contains both words.
func (h recorder) await(s *site, words ...string) {
	s.t.Helper()
	for {
		select {
		case <-s.ctx.Done():
			s.t.Fatalf("no message with %q", words)
		case text := <-h.warnings:
			if strings.Contains(text, words[0]) && strings.Contains(text, words[1]) {
				return
			}
		}
	}
}

// logged returns a connection that logs to h.
func (s *site) logged(h recorder) *broker.Conn {
	s.t.Helper()
	c, err := broker.Connect(s.ctx, broker.Config{URL: s.nats.URL(), Logger: slog.New(h)})
	if err != nil {
		s.t.Fatal(err)
	}
	c = c.WithKeys(natstest.Keys(s.t, 1))
	s.t.Cleanup(c.Close)
	return c
}

// resize limits a stream to its present size plus more bytes. A negative more
// removes the limit.
func (s *site) resize(stream string, more int64) {
	s.t.Helper()
	js, err := jetstream.New(s.nats.Connect(s.t))
	if err != nil {
		s.t.Fatal(err)
	}
	st, err := js.Stream(s.ctx, stream)
	if err != nil {
		s.t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.Discard, cfg.MaxBytes = jetstream.DiscardNew, int64(st.CachedInfo().State.Bytes)+more
	if more < 0 {
		cfg.MaxBytes = -1
	}
	if _, err := js.UpdateStream(s.ctx, cfg); err != nil {
		s.t.Fatal(err)
	}
}

// fifo creates a named pipe, with which a module and a test wait for each other.
func (s *site) fifo(name string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// TestRunWaitsForAFullStream: while a stream has no room, a run waits and logs it.
// No record is lost or written twice.
func TestRunWaitsForAFullStream(t *testing.T) {
	for _, stream := range []string{"MP_RUNS", "MP_JOBS", "MP_LOGS", "OBJ_mp-blobs"} {
		t.Run(stream, func(t *testing.T) {
			s := newSite(t, 0)
			h := recorder{slog.DiscardHandler, make(chan string, 1000)}
			s.workerOn(s.logged(h), worker.Config{Name: "w"})
			gate := s.fifo("gate")
			s.submit("r", `
name: p
modules:
  a:
    run: |
      echo a >>done
      echo here >gate; cat gate >/dev/null
      echo said
      printf 'big=%0100000d\n' 0 | tr 0 "$(head -c1 /dev/urandom | od -An -tx1 | cut -c2)" >>"$MODPIPE_OUTPUT"
    outputs: [big]
  b: {needs: a, run: 'echo b >>done; echo said'}
  c: {needs: a, run: 'echo c >>done; [ "$(printf %s "$BIG" | wc -c)" = 100000 ]', env: {BIG: '${{ needs.a.outputs.big }}'}}
`)
			conn := s.logged(h)
			var g errgroup.Group
			g.Go(func() error {
				_, err := orchestrator.Run(s.ctx, conn, "r", orchestrator.Config{Logger: slog.New(h)})
				return err
			})
			if _, err := os.ReadFile(gate); err != nil { // a runs
				t.Fatal(err)
			}
			s.resize(stream, 10)
			if err := os.WriteFile(gate, []byte("go"), 0o600); err != nil {
				t.Fatal(err)
			}
			h.await(s, "no room", stream)
			if ended, err := s.conn.Runs.Ended(s.ctx, "r"); ended || err != nil {
				t.Fatalf("it has ended with a full %s: %v", stream, err)
			}
			s.resize(stream, -1)
			rep, err := client.New(s.conn).Follow(s.ctx, "r", client.FollowOptions{Output: true})
			if err := errors.Join(err, g.Wait()); err != nil {
				t.Fatal(err)
			}
			if got := statuses(rep); got != "a=succeeded b=succeeded c=succeeded" {
				t.Errorf("%s: %s", got, rep.Error)
			}
			done, err := os.ReadFile(filepath.Join(s.dir, "done"))
			if err != nil || len(done) != 6 || !bytes.HasPrefix(done, []byte("a\n")) {
				t.Errorf("what ran: %q, %v", done, err)
			}
			s.eachOnce("r")
		})
	}
}

// TestRunWaitsForFullStorage: another client uses up the storage of the whole
// server during a run. The run waits and logs it.
func TestRunWaitsForFullStorage(t *testing.T) {
	s := newSiteOn(t, natstest.StartServer(t, func(o *server.Options) { o.JetStreamMaxStore = 64 << 20 }))
	h := recorder{slog.DiscardHandler, make(chan string, 1000)}
	s.workerOn(s.logged(h), worker.Config{Name: "w"})
	gate := s.fifo("gate")
	s.submit("r", `
name: p
modules:
  a: {run: 'echo a >>done; echo here >gate; cat gate >/dev/null; echo said; echo o=1 >>"$MODPIPE_OUTPUT"', outputs: [o]}
  b: {needs: a, run: 'echo "b $O" >>done', env: {O: '${{ needs.a.outputs.o }}'}}
`)
	var g errgroup.Group
	conn := s.logged(h)
	g.Go(func() error {
		_, err := orchestrator.Run(s.ctx, conn, "r", orchestrator.Config{Logger: slog.New(h)})
		return err
	})
	if _, err := os.ReadFile(gate); err != nil { // a runs
		t.Fatal(err)
	}
	free := s.useUp()
	if err := os.WriteFile(gate, []byte("go"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.await(s, "no room", "max_file_store")
	if ended, err := s.conn.Runs.Ended(s.ctx, "r"); ended || err != nil {
		t.Fatalf("it has ended without room: %v", err)
	}
	free()
	rep, err := client.New(s.conn).Follow(s.ctx, "r", client.FollowOptions{Output: true})
	if err := errors.Join(err, g.Wait()); err != nil {
		t.Fatal(err)
	}
	if got := statuses(rep); got != "a=succeeded b=succeeded" {
		t.Errorf("%s: %s", got, rep.Error)
	}
	if done, err := os.ReadFile(filepath.Join(s.dir, "done")); err != nil || string(done) != "a\nb 1\n" {
		t.Errorf("what ran: %q, %v", done, err)
	}
	s.eachOnce("r")
}

// useUp takes all storage that the server has left, until free is called.
func (s *site) useUp() (free func()) {
	s.t.Helper()
	js, err := jetstream.New(s.nats.Connect(s.t))
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := js.CreateStream(s.ctx, jetstream.StreamConfig{Name: "OTHERS", Subjects: []string{"others"}}); err != nil {
		s.t.Fatal(err)
	}
	for size := 512 << 10; size > 0; {
		if _, err := js.Publish(s.ctx, "others", make([]byte, size)); err != nil {
			size /= 2 // fill the rest with smaller messages
		}
	}
	return func() {
		if err := js.DeleteStream(s.ctx, "OTHERS"); err != nil {
			s.t.Fatal(err)
		}
	}
}

// eachOnce checks that a run's log has one outcome of each attempt.
func (s *site) eachOnce(run jobs.RunID) {
	s.t.Helper()
	log, err := s.conn.Runs.Read(s.ctx, run)
	if err != nil {
		s.t.Fatal(err)
	}
	outcomes := map[jobs.AttemptID]int{}
	for _, e := range log {
		if o := e.Record.Outcome; o != nil {
			outcomes[jobs.AttemptID{Module: e.Cell, Attempt: o.Attempt}]++
		}
	}
	for id, n := range outcomes {
		if n != 1 {
			s.t.Errorf("%v has %d outcomes", id, n)
		}
	}
}

// TestSubmitToAFullStreamFails: a submission to a full stream fails without waiting.
// The error names the stream and the remedy.
func TestSubmitToAFullStreamFails(t *testing.T) {
	s := newSite(t, 0)
	s.resize("MP_RUNS", 10)
	err := client.New(s.conn).Submit(s.ctx, &jobs.Spec{Run: "r"})
	if !errors.Is(err, broker.ErrFull) || !strings.Contains(err.Error(), "MP_RUNS") || !strings.Contains(err.Error(), "nats stream edit") {
		t.Errorf("%v", err)
	}
}
