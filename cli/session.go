package cli

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/natsembed"
	"github.com/modpipe/modpipe/internal/pause"
)

// session is a connection, with all that this process keeps up for it.
type session struct {
	conn   *broker.Conn
	server *natsembed.Server // inside this process; nil = elsewhere
	store  *store            // held for server; nil = elsewhere
	file   *listenFile       // by which programs of this user find server; nil = there is none
	dead   bool              // the store is ours alone: whatever is running in it has lost its orchestrator
	mends  sync.WaitGroup    // what looks after server
	leave  context.CancelFunc
}

// alone tells a worker whether no other process has joined the server; nil for
// a server elsewhere.
func (s *session) alone() func() bool {
	if s.server == nil {
		return nil
	}
	return func() bool { return !s.server.Joined() }
}

// close ends the connection, then the server, then the store.
func (s *session) close() {
	if s.conn != nil {
		s.conn.Close()
	}
	if s.server != nil {
		s.leave()
		s.mends.Wait()
		s.server.Close()
	}
	s.file.close()
	if s.store != nil {
		s.store.close()
	}
}

// storeRole is what a process does with the store that it holds.
type storeRole int

const (
	roleRun   storeRole = iota
	roleRead            // and is soon gone
	roleServe           // takes the runs of others
)

// hosting is how a server is embedded.
type hosting struct {
	token string // of its clients, when it does not listen
	door  *door  // nil = it listens for programs that find it by its store only
	as    storeRole
	sync  bool // every write is on disk before it is acknowledged

	lost context.CancelCauseFunc // ends what needs the store when it is removed; may be nil
}

// embed starts a server on the store and connects to it. The store is closed
// with the session, and when embed fails.
func (a *app) embed(ctx context.Context, st *store, h hosting, log *slog.Logger) (*session, error) {
	s := &session{store: st}
	server, err := a.embedServer(ctx, s, h, log)
	if err != nil {
		s.close()
		return nil, infrastructureError("embedded NATS server on %s: %w", st.dir, err)
	}
	s.lookAfter(ctx, server, h.lost)
	s.conn, err = broker.Connect(ctx, broker.Config{
		URL: "nats://" + server.Address(), Name: "modpipe " + a.program, Options: server.Options(),
		ConnectTimeout: 30 * time.Second, Logger: log,
	})
	if err == nil {
		err = st.announce(holder{URL: server.URL(), Token: h.secret(), Pin: h.pin(), Reader: h.as == roleRead, Serves: h.as == roleServe})
	}
	if err != nil {
		s.close()
		return nil, infrastructureError("embedded NATS server on %s: %w", st.dir, err)
	}
	return s, nil
}

// embedServer starts the server. Where its port is known, the programs of this
// user can find it before it listens: one that waits for it would be refused else.
func (a *app) embedServer(ctx context.Context, s *session, h hosting, log *slog.Logger) (*natsembed.Server, error) {
	cfg := natsembed.Config{Store: s.store.data(), Token: h.secret(), SyncAlways: h.sync, Logger: log}
	if h.door == nil {
		return natsembed.Start(cfg)
	}
	announce := func(address string) {
		var err error
		if s.file, err = h.door.announce(ctx, address); err != nil {
			log.Warn("programs of this user do not find the NATS server by themselves: they need the flags of a worker", "error", err)
		}
	}
	cfg.Listen, cfg.Certificate = h.door.address, h.door.cert
	early := h.door.knownPort() && addressFree(h.door.address)
	if early {
		announce(h.door.address)
	}
	server, err := natsembed.Start(cfg)
	if err == nil && !early {
		announce(server.Address())
	}
	return server, err
}

func (h hosting) secret() string {
	if h.door != nil {
		return h.door.token
	}
	return h.token
}

func (h hosting) pin() string {
	if h.door != nil {
		return h.door.pin
	}
	return ""
}

// lookAfter has the server started again when its disk had been full, until
// close, and calls lost when its store was removed.
func (s *session) lookAfter(ctx context.Context, server *natsembed.Server, lost context.CancelCauseFunc) {
	ctx, s.leave = context.WithCancel(context.WithoutCancel(ctx))
	s.server = server
	s.mends.Go(func() {
		if err := server.Repair(ctx); err != nil && lost != nil {
			lost(infrastructureError("embedded NATS server on %s: %w while this process used it; its runs and their logs are lost.\nStart again: a new store is created", s.store.dir, err))
		}
	})
}

// workspaceRead is the help of --workspace where nothing runs.
const workspaceRead = "without a server: whose runs (default: the git work tree around the working directory, else that directory)"

// open connects a command that looks at runs or workers: to the server that
// the settings name, else to the run that holds the workspace's store, else to
// a server of its own on that store.
func (a *app) open(ctx context.Context, p place) (*session, error) {
	dir, err := a.workDir()
	if err != nil {
		return nil, err
	}
	return a.openFor(ctx, p, dir)
}

// openFor is open for a file in dir.
func (a *app) openFor(ctx context.Context, p place, dir string) (*session, error) {
	if t, ok, err := a.remote(); err != nil {
		return nil, err
	} else if ok {
		return a.openRemote(ctx, t)
	}
	_, storeDir, err := p.resolve(a.env, dir)
	if err != nil {
		return nil, err
	}
	return a.openStore(ctx, storeDir)
}

func (a *app) openRemote(ctx context.Context, t target) (*session, error) {
	c, err := a.dial(ctx, t, a.set.timeout, a.quietLogger())
	if err != nil {
		return nil, err
	}
	return &session{conn: c}, nil
}

// openStore connects to the holder of the store, or holds it.
func (a *app) openStore(ctx context.Context, dir string) (*session, error) {
	if err := storeExists(dir); err != nil {
		return nil, err
	}
	patience, stop := context.WithTimeout(ctx, a.set.timeout)
	defer stop()
	for {
		st, err := hold(dir)
		if err == nil {
			s, err := a.embed(ctx, st, hosting{token: newToken(), as: roleRead}, a.quietLogger())
			if err == nil {
				s.dead = true
			}
			return s, err
		}
		if !errors.Is(err, errHeld) {
			return nil, err
		}
		if h, ok := readHolder(dir); ok {
			if c, err := a.enter(ctx, h, time.Second); err == nil {
				return &session{conn: c}, nil
			}
		}
		if pause.For(patience, 50*time.Millisecond) != nil { // it is just starting, or just going
			return nil, infrastructureError("the store %s is held by a process that does not answer", dir)
		}
	}
}

// workDir is where the command was started.
func (a *app) workDir() (string, error) {
	if a.Dir != "" {
		return a.Dir, nil
	}
	return os.Getwd()
}

// quietLogger tells of errors only, and of warnings in commands that read
// output.
func (a *app) quietLogger() *slog.Logger {
	if a.jsonErr {
		return slog.New(slog.DiscardHandler)
	}
	level := slog.LevelError
	if a.readsOutput {
		level = slog.LevelWarn
	}
	return a.kept(newLogger(&lockedWriter{w: a.Stderr}, a.paint(a.Stderr), level))
}

// checkListen checks HOST:PORT; open reports whether it is beyond loopback.
func checkListen(listen string) (open bool, err error) {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false, usageError("%q is not HOST:PORT", listen)
	}
	if host == "localhost" {
		return false, nil
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsLoopback(), nil
}
