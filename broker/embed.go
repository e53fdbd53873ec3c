package broker

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// ErrStoreHeld says that another process has the store of an embedded server.
var ErrStoreHeld = errors.New("another process holds this store")

// startTimeout is for a server that recovers a large store.
const startTimeout = time.Minute

// EmbedConfig configures a server inside this process.
type EmbedConfig struct {
	Store  string // directory
	Listen string // "host:port"; empty = 127.0.0.1 and a free port
	Token  string // required from every client when set
	Memory bool   // a temporary store, removed by Close
	// SyncAlways has every write on disk before it is acknowledged, so that a
	// power cut loses nothing that was; else a write is there after 2 minutes at
	// the latest, and only the death of processes is survived.
	SyncAlways bool
	Logger     *slog.Logger
}

// Server is an embedded server.
type Server struct {
	server *server.Server
	token  string
	lock   *os.File
	remove string // a temporary store
	once   sync.Once
}

// Embed starts a server. It returns when clients can connect. ErrStoreHeld.
func Embed(cfg EmbedConfig) (*Server, error) {
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

// openStore makes the directory and keeps other processes out of it: two
// servers on one store destroy it.
func (s *Server) openStore(cfg *EmbedConfig) (err error) {
	if cfg.Memory {
		if s.remove, err = os.MkdirTemp("", "modpipe-nats-"); err != nil {
			return fmt.Errorf("make a temporary store: %w", err)
		}
		cfg.Store = s.remove
		return nil
	}
	if cfg.Store == "" {
		return errors.New("embed NATS: no directory for its store")
	}
	if err := os.MkdirAll(cfg.Store, 0o700); err != nil {
		return fmt.Errorf("make the store: %w", err)
	}
	s.lock, err = lockFile(filepath.Join(cfg.Store, ".lock"))
	if err != nil {
		return fmt.Errorf("use the store %s: %w", cfg.Store, err)
	}
	return nil
}

func (s *Server) closeStore() {
	if s.lock != nil {
		_ = s.lock.Close() // which lets go of it
	}
	if s.remove != "" {
		_ = os.RemoveAll(s.remove) // a temporary directory
	}
}

func (s *Server) start(cfg EmbedConfig, host string, port int) error {
	if err := checkFree(host, port); err != nil {
		return err
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: "modpipe-embedded", Host: host, Port: port, Authorization: cfg.Token,
		JetStream: true, StoreDir: cfg.Store, SyncAlways: cfg.SyncAlways, NoSigs: true, DisableShortFirstPing: true,
	})
	if err != nil {
		return fmt.Errorf("embed NATS: %w", err)
	}
	log := &serverLog{log: cmp.Or(cfg.Logger, slog.Default()), fatal: make(chan string, 1)}
	srv.SetLoggerV2(log, false, false, false)
	go srv.Start() // returns when it is up
	s.server = srv
	ready := make(chan bool, 1)
	go func() { ready <- srv.ReadyForConnections(startTimeout) }()
	select {
	case ok := <-ready:
		if ok {
			return nil
		}
		err = fmt.Errorf("embed NATS: it was not ready within %v", startTimeout)
	case why := <-log.fatal:
		err = fmt.Errorf("embed NATS in %s: %s", cfg.Store, why)
	}
	srv.Shutdown()
	srv.WaitForShutdown()
	return err
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

// checkFree tries the address first: the server itself would only log.
func checkFree(host string, port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(max(port, 0)))) //nolint:noctx // binding does not wait
	if err != nil {
		return fmt.Errorf("embed NATS: %w", err)
	}
	return l.Close()
}

// Options connect in process.
func (s *Server) Options() []nats.Option {
	options := []nats.Option{nats.InProcessServer(s.server)}
	if s.token != "" {
		options = append(options, nats.Token(s.token))
	}
	return options
}

// URL for other processes.
func (s *Server) URL() string { return s.server.ClientURL() }

// Close stops it and waits.
func (s *Server) Close() {
	s.once.Do(func() {
		s.server.Shutdown()
		s.server.WaitForShutdown()
		s.closeStore()
	})
}

// serverLog passes what matters of the server's log on.
type serverLog struct {
	log   *slog.Logger
	fatal chan string // the first is kept
}

func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}
func (l *serverLog) Warnf(format string, v ...any) {
	l.log.Warn("nats-server: " + fmt.Sprintf(format, v...))
}

func (l *serverLog) Errorf(format string, v ...any) {
	l.log.Error("nats-server: " + fmt.Sprintf(format, v...))
}

func (l *serverLog) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Sprintf(format, v...):
	default:
	}
}
