package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// much is a pipeline that writes about 30 MB, in numbered lines that do not
// compress.
const much = `
name: p
modules:
  a: {run: 'head -c 20000000 /dev/urandom | base64 -w 1000 | cat -n; echo last'}
  b: {needs: a, run: "true"}
`

// numbered checks that all lines of a module arrive, in order.
type numbered struct {
	lines int
	wrong string
	last  bool
}

func (n *numbered) event(e report.Event) {
	if e.Event != report.EventModuleOutput {
		return
	}
	number, _, _ := strings.Cut(strings.TrimSpace(e.Text), "\t")
	switch {
	case e.Text == "last":
		n.last = true
	case number != fmt.Sprint(n.lines+1) && n.wrong == "":
		n.wrong = fmt.Sprintf("line %s after %d", number, n.lines)
	default:
		n.lines++
	}
}

func (n *numbered) check(t *testing.T) {
	t.Helper()
	if n.lines != 26667 || n.wrong != "" || !n.last {
		t.Errorf("%d lines, %s, the last: %v", n.lines, n.wrong, n.last)
	}
}

// TestSlowFollowerDoesNotDelayTheRun: a blocked follower does not delay its run. The
// server sends it no more than it buffers. It receives all events when it goes on.
func TestSlowFollowerDoesNotDelayTheRun(t *testing.T) {
	s := newSite(t, 1)
	s.submit("r", much)
	var g errgroup.Group
	defer g.Wait() //nolint:errcheck // the test has read the error, or has failed
	stuck, goOn := make(chan struct{}), make(chan struct{})
	follower := s.connect()
	var got numbered
	g.Go(func() error {
		var once sync.Once
		_, err := client.New(follower).Follow(s.ctx, "r", client.FollowOptions{Output: true, Sink: func(e report.Event) {
			once.Do(func() { close(stuck); <-goOn })
			got.event(e)
		}})
		return err
	})
	<-stuck // block before the first output, so that the amount which the follower reads does not depend on time
	rep, err := orchestrator.Run(s.ctx, s.connect(), "r", orchestrator.Config{})
	if err != nil || rep.Status != report.RunSucceeded {
		close(goOn)
		t.Fatal(rep, err)
	}
	if in := follower.BytesReceived(); in > 10<<20 {
		t.Errorf("%d bytes were sent to a blocked follower", in)
	}
	close(goOn)
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	got.check(t)
}

// TestBlockedFleetListenerDoesNotDelayTheRun: a blocked Config.Fleet does not delay the
// run.
func TestBlockedFleetListenerDoesNotDelayTheRun(t *testing.T) {
	s := newSite(t, 1)
	s.submit("r", "name: p\nmodules: {a: {run: 'true'}, b: {needs: a, run: 'true'}}\n")
	goOn := make(chan struct{})
	received := make(chan report.Event, 10)
	var g errgroup.Group
	g.Go(func() error {
		_, err := orchestrator.Run(s.ctx, s.connect(), "r", orchestrator.Config{Fleet: func(e report.Event) { <-goOn; received <- e }})
		return err
	})
	rep, err := client.New(s.conn).Follow(s.ctx, "r", client.FollowOptions{Output: true})
	close(goOn)
	if err := errors.Join(err, g.Wait()); err != nil {
		t.Fatal(err)
	}
	if rep.Status != report.RunSucceeded {
		t.Errorf("%s: %s", rep.Status, rep.Error)
	}
	if e := <-received; e.Event != report.EventWorkerJoined {
		t.Errorf("the first event is %+v", e)
	}
}

// narrow creates connections that read nothing while it is shut. They are pipes
// without a buffer, so that the writes of the server block.
type narrow struct {
	server *natstest.Server

	gone func()        // closes cut
	cut  chan struct{} // closed when the server has cut a connection

	mu   sync.Mutex
	open chan struct{} // closed while the connections may read
}

func newNarrow(s *natstest.Server) *narrow {
	n := &narrow{server: s, cut: make(chan struct{}), open: make(chan struct{})}
	n.gone = sync.OnceFunc(func() { close(n.cut) })
	close(n.open)
	return n
}

func (n *narrow) shut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open = make(chan struct{})
}

func (n *narrow) widen() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.open)
}

// InProcessConn implements nats.InProcessConnProvider.
func (n *narrow) InProcessConn() (net.Conn, error) {
	c, err := n.server.InProcessConn()
	return narrowConn{c, n}, err
}

type narrowConn struct {
	net.Conn
	n *narrow
}

func (c narrowConn) Read(b []byte) (int, error) {
	c.n.mu.Lock()
	open := c.n.open
	c.n.mu.Unlock()
	<-open
	return c.Conn.Read(b)
}

// Write writes to the connection. A client that reads nothing detects here that
// the server has cut the connection.
func (c narrowConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil {
		c.n.gone()
	}
	return n, err
}

// TestRunContinuesAfterTheServerCutsASlowClient: the server cuts the connection of a
// run's orchestrator and follower because they read too slowly. They reconnect.
// All output arrives in order, and no module runs twice.
func TestRunContinuesAfterTheServerCutsASlowClient(t *testing.T) {
	s := newSiteOn(t, natstest.StartServer(t, func(o *server.Options) {
		o.DontListen, o.WriteDeadline = true, 250*time.Millisecond
	}))
	s.worker("w")
	n := newNarrow(s.nats)
	slow, err := broker.Connect(s.ctx, broker.Config{
		Options: []nats.Option{nats.InProcessServer(n)}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	slow = slow.WithKeys(natstest.Keys(s.t, 1))
	t.Cleanup(slow.Close)
	s.submit("r", strings.Replace(much, "run: '", "run: 'echo a >>done; ", 1))
	again := slow.Reconnected(s.ctx)
	var g errgroup.Group
	g.Go(func() error {
		_, err := orchestrator.Run(s.ctx, slow, "r", orchestrator.Config{})
		return err
	})
	var got numbered
	g.Go(func() error {
		var once sync.Once
		rep, err := client.New(slow).Follow(s.ctx, "r", client.FollowOptions{Output: true, Sink: func(e report.Event) {
			if e.Event == report.EventModuleOutput {
				once.Do(n.shut)
			}
			got.event(e)
		}})
		if err == nil && rep.Status != report.RunSucceeded {
			err = fmt.Errorf("%s: %s", rep.Status, rep.Error)
		}
		return err
	})
	s.awaitOutcome("r") // of a: the run does not wait for the follower
	select {
	case <-n.cut:
	case <-s.ctx.Done():
		t.Error("the server has not cut the connection")
	}
	n.widen()
	select {
	case <-again:
	case <-s.ctx.Done():
		t.Fatal("the client has not reconnected")
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	got.check(t)
	s.eachOnce("r")
	if done, err := os.ReadFile(filepath.Join(s.dir, "done")); err != nil || string(done) != "a\n" {
		t.Errorf("what ran: %q, %v", done, err)
	}
}

// awaitOutcome waits for the first outcome in a run's log.
func (s *site) awaitOutcome(run jobs.RunID) {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.ctx)
	entries := make(chan jobs.Entry)
	var g errgroup.Group
	g.Go(func() error { return s.conn.Runs.Follow(ctx, run, 0, entries) })
	defer g.Wait() //nolint:errcheck // it ends with ctx
	defer stop()
	for {
		select {
		case e := <-entries:
			if e.Record.Outcome != nil {
				return
			}
		case <-s.ctx.Done():
			s.t.Fatal("no attempt has ended")
		}
	}
}
