// Package natstest runs tests against a real NATS server inside the test
// process.
//
// Start gives a test its own JetStream server (3.6 ms in-process, measured).
// Bubble does the same under testing/synctest, so that ack waits, leases, key
// TTLs, delayed naks and heartbeats elapse in fake time: minutes pass in
// milliseconds, and a leaked goroutine fails the test. StartServer gives a
// server on TCP that can be stopped and started again on its store and port,
// StartCluster several that are one NATS, to be killed and cut off.
//
// It does not know package broker, whose tests use it: connect with URL and
// Options.
package natstest

import (
	"net"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
)

// registerClock starts the server's process-wide access-time ticker, once and
// outside every bubble. A ticker that is started inside a bubble stops the bubble's clock.
var registerClock = sync.OnceFunc(ats.Register)

// Bubble calls f in a synctest bubble with a separate server. Streams must be in memory,
// because file storage uses the real clock. Parallel tests must not use it: nats.go pools
// timers per process, and a timer may not cross a bubble's edge, so Bubble empties the
// pool before and after.
func Bubble(t *testing.T, f func(t *testing.T, s *Server)) {
	t.Helper()
	registerClock()
	emptyPools()
	defer emptyPools()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f(t, start(t, server.Options{DontListen: true, StoreDir: dir}))
	})
}

// emptyPools empties every sync.Pool, which takes two collections.
func emptyPools() {
	runtime.GC()
	runtime.GC()
}

// InProcess gives the test a server that is reached through its Options only.
func InProcess(t testing.TB) *Server {
	t.Helper()
	return start(t, server.Options{DontListen: true, StoreDir: t.TempDir()})
}

// StartServer gives the test a server that listens on loopback. change, when
// not nil, alters its options before every start.
func StartServer(t testing.TB, change func(*server.Options)) *Server {
	t.Helper()
	opts := server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, StoreDir: t.TempDir()}
	if change != nil {
		change(&opts)
	}
	return start(t, opts)
}

// Server is a running server.
type Server struct {
	mu   sync.Mutex
	opts server.Options
	srv  *server.Server
}

func start(t testing.TB, opts server.Options) *Server {
	t.Helper()
	opts.JetStream, opts.NoLog, opts.NoSigs = !noJetStream(&opts), true, true
	s := &Server{opts: opts}
	t.Cleanup(s.Stop)
	s.Start(t)
	return s
}

// noJetStream reports whether the test wants no store, which the zero value cannot
// express.
func noJetStream(opts *server.Options) bool { return opts.StoreDir == "" }

// Start starts it, again on the same store and port after Stop.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	opts := s.opts
	srv, err := server.NewServer(&opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	s.srv = srv
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("nats-server is not ready")
	}
	if a, ok := srv.Addr().(*net.TCPAddr); ok {
		s.opts.Port = a.Port
	}
}

// Stop stops it and waits.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv == nil {
		return
	}
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
	s.srv = nil
}

// Restart stops it and starts it again.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	s.Start(t)
}

// Reload changes the options of the running server, as a reload of its
// configuration does. Permissions that a client loses are denied from now on.
func (s *Server) Reload(t testing.TB, change func(*server.Options)) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.opts)
	opts := s.opts.Clone()
	if err := s.srv.ReloadOptions(opts); err != nil {
		t.Fatal(err)
	}
}

// CutClients closes every client's connection, as a network that fails does.
func (s *Server) CutClients() {
	s.mu.Lock()
	defer s.mu.Unlock()
	infos, err := s.srv.Connz(&server.ConnzOptions{Limit: 1 << 16})
	if err != nil {
		return
	}
	for _, c := range infos.Conns {
		_ = s.srv.DisconnectClientByID(c.Cid) // it may have gone by itself
	}
}

// Divert redirects messages from a subject to another until the returned function is
// called. A test that subscribes there can hold back or change requests to JetStream.
func (s *Server) Divert(t testing.TB, from, to string) (restore func()) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	account := s.srv.GlobalAccount()
	if err := account.AddMapping(from, to); err != nil {
		t.Fatal(err)
	}
	return func() { account.RemoveMapping(from) }
}

// URL returns the server's address; empty in process.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opts.DontListen {
		return ""
	}
	return "nats://" + net.JoinHostPort(s.opts.Host, strconv.Itoa(s.opts.Port))
}

// Options connect to it; empty for a server that listens.
func (s *Server) Options() []nats.Option {
	if !s.opts.DontListen {
		return nil
	}
	return []nats.Option{nats.InProcessServer(s)}
}

// InProcessConn implements nats.InProcessConnProvider, over restarts.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv == nil {
		return nil, nats.ErrNoServers
	}
	return s.srv.InProcessConn()
}

// Connect connects until the test ends.
func (s *Server) Connect(t testing.TB) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(s.URL(), s.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}
