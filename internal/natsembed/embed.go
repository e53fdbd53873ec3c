package natsembed

import (
	"cmp"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// ErrStoreHeld reports that another process uses the store of an embedded server.
var ErrStoreHeld = errors.New("another process holds this store")

// tlsTimeout bounds a handshake.
const tlsTimeout = 10 * time.Second

// startTimeout bounds a start, which may recover a large store.
const startTimeout = time.Minute

// Config configures a server inside this process.
type Config struct {
	Store  string // directory
	Listen string // "host:port"; empty = 127.0.0.1 and a free port
	Token  string // required from every client when set
	Guest  *Guest // may join with another token; nil = no user may
	// Certificate makes network clients use TLS; nil = no TLS.
	Certificate *tls.Certificate
	Memory      bool // a temporary store, removed by Close
	// SyncAlways writes to the disk before every acknowledgement, so that a power
	// cut loses no acknowledged write. Otherwise a write reaches the disk within 2
	// minutes, and survives only the death of processes.
	SyncAlways bool
	Logger     *slog.Logger
}

// Guest is a client that may do less than the others. It counts only beside a token of
// theirs.
type Guest struct {
	Token              string
	Publish, Subscribe []string // the subjects that it may use
}

// Check implements server.Authentication for a server with two tokens.
func (d *doorkeeper) Check(c server.ClientAuthentication) bool {
	token := []byte(c.GetOpts().Token)
	if subtle.ConstantTimeCompare(token, []byte(d.token)) == 1 {
		return true
	}
	if subtle.ConstantTimeCompare(token, []byte(d.guest.Token)) != 1 {
		return false
	}
	c.RegisterUser(&server.User{Username: "worker", Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Allow: d.guest.Publish}, Subscribe: &server.SubjectPermission{Allow: d.guest.Subscribe},
	}})
	return true
}

// doorkeeper knows the tokens of a server.
type doorkeeper struct {
	token string
	guest *Guest
}

// Server is an embedded server.
type Server struct {
	opts   server.Options
	log    *serverLog
	token  string
	lock   *flock.Flock // nil for a temporary store
	remove string       // a temporary store
	once   sync.Once

	mu     sync.Mutex
	server *server.Server // Repair replaces it; nil while no server runs
}

// Start starts a server, and returns when clients can connect. It returns
// ErrStoreHeld when another process uses the store.
func Start(cfg Config) (*Server, error) {
	host, port, err := listenAddress(cfg.Listen)
	if err != nil {
		return nil, err
	}
	s := &Server{token: cfg.Token}
	if err := s.openStore(&cfg); err != nil {
		return nil, err
	}
	if err := s.start(cfg, host, port); err != nil {
		s.closeStore()
		return nil, err
	}
	return s, nil
}

// openStore creates the directory and locks it, because two servers on one store
// destroy it.
func (s *Server) openStore(cfg *Config) (err error) {
	if cfg.Memory {
		if s.remove, err = os.MkdirTemp("", "modpipe-nats-"); err != nil {
			return fmt.Errorf("create a temporary store: %w", err)
		}
		cfg.Store = s.remove
		return nil
	}
	if cfg.Store == "" {
		return errors.New("embed NATS: no directory for its store")
	}
	if err := os.MkdirAll(cfg.Store, 0o700); err != nil {
		return fmt.Errorf("create the store: %w", err)
	}
	s.lock = flock.New(filepath.Join(cfg.Store, ".lock"), flock.SetFlag(os.O_CREATE|os.O_RDWR))
	ok, err := s.lock.TryLock()
	if err == nil && !ok {
		err = ErrStoreHeld
	}
	if err != nil {
		return fmt.Errorf("use the store %s: %w", cfg.Store, err)
	}
	return nil
}

func (s *Server) closeStore() {
	if s.lock != nil {
		_ = s.lock.Close() // releases the lock
	}
	if s.remove != "" {
		_ = os.RemoveAll(s.remove) // a temporary directory
	}
}

func (s *Server) start(cfg Config, host string, port int) error {
	if err := checkFree(host, port); err != nil {
		return err
	}
	s.opts = server.Options{
		ServerName: "modpipe-embedded", Host: host, Port: port, Authorization: cfg.Token,
		JetStream: true, StoreDir: cfg.Store, SyncAlways: cfg.SyncAlways, NoSigs: true, DisableShortFirstPing: true,
	}
	if cfg.Guest != nil && cfg.Token != "" && cfg.Guest.Token != "" {
		s.opts.Authorization, s.opts.CustomClientAuthentication = "", &doorkeeper{cfg.Token, cfg.Guest}
	}
	if cfg.Certificate != nil {
		s.opts.TLS, s.opts.TLSTimeout = true, tlsTimeout.Seconds()
		s.opts.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*cfg.Certificate}}
	}
	s.log = &serverLog{log: cmp.Or(cfg.Logger, slog.Default()), fatal: make(chan string, 1), failed: make(chan string, 1)}
	return s.up()
}

// up starts a server, on the port of the previous one if there was one.
func (s *Server) up() error {
	opts := s.opts // the server changes them
	srv, err := server.NewServer(&opts)
	if err != nil {
		return fmt.Errorf("embed NATS: %w", err)
	}
	srv.SetLoggerV2(s.log, false, false, false)
	go srv.Start() // returns when it is up
	ready := make(chan bool, 1)
	go func() { ready <- srv.ReadyForConnections(startTimeout) }()
	select {
	case ok := <-ready:
		if ok {
			s.started(srv)
			return nil
		}
		err = fmt.Errorf("embed NATS: it was not ready within %v", startTimeout)
	case why := <-s.log.fatal:
		err = fmt.Errorf("embed NATS in %s: %s", s.opts.StoreDir, why)
	}
	srv.Shutdown()
	srv.WaitForShutdown()
	return err
}

func (s *Server) started(srv *server.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server = srv
	if a, ok := srv.Addr().(*net.TCPAddr); ok {
		s.opts.Port = a.Port
	}
}

func (s *Server) down() {
	s.mu.Lock()
	srv := s.server
	s.server = nil
	s.mu.Unlock()
	if srv != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

// listenAddress reads "host:port".
func listenAddress(listen string) (string, int, error) {
	if listen == "" {
		return "127.0.0.1", server.RANDOM_PORT, nil
	}
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("listen on %q: %w", listen, err)
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("listen on %q: the port is a number up to 65535", listen)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return cmp.Or(host, "0.0.0.0"), port, nil
}

// checkFree tests the address, because the server itself would only log an error.
func checkFree(host string, port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(max(port, 0)))) //nolint:noctx // binding does not wait
	if err != nil {
		return fmt.Errorf("embed NATS: %w", err)
	}
	return l.Close()
}

// InProcessConn implements nats.InProcessConnProvider, also after Repair has
// replaced the server.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return nil, nats.ErrNoServers
	}
	return s.server.InProcessConn()
}

// Options connect in process.
func (s *Server) Options() []nats.Option {
	options := []nats.Option{nats.InProcessServer(s)}
	if s.token != "" {
		options = append(options, nats.Token(s.token))
	}
	return options
}

// URL for other processes.
func (s *Server) URL() string {
	if s.opts.TLS {
		return "tls://" + s.Address()
	}
	return "nats://" + s.Address()
}

// Address is where it listens, HOST:PORT.
func (s *Server) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return net.JoinHostPort(s.opts.Host, strconv.Itoa(s.opts.Port))
}

// Joined reports whether a client of another process is connected.
func (s *Server) Joined() bool {
	s.mu.Lock()
	srv := s.server
	s.mu.Unlock()
	if srv == nil || srv.NumClients() == 0 {
		return false
	}
	clients, err := srv.Connz(&server.ConnzOptions{State: server.ConnOpen, Limit: mostClients})
	if err != nil {
		return true // assume so when it is unknown
	}
	return len(clients.Conns) < clients.Total || slices.ContainsFunc(clients.Conns, func(c *server.ConnInfo) bool {
		return c.IP != "" // connections within this process have no address
	})
}

// mostClients bounds the connections that Joined checks.
const mostClients = 64

// Close stops the server and waits for its end. Repair must have returned.
func (s *Server) Close() {
	s.once.Do(func() {
		s.down()
		s.closeStore()
	})
}
