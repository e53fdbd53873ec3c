package access

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/connect"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/natsembed"
	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/internal/store"
)

// Session is a connection, with everything that this process runs for it.
type Session struct {
	Conn   *broker.Conn
	Server *natsembed.Server // inside this process; nil = elsewhere
	Store  *store.Dir        // held for server; nil = elsewhere
	file   *store.ListenFile // with which programs of this user find server; nil = no file
	Dead   bool              // only we hold the store: its running runs have lost their orchestrator
	mends  sync.WaitGroup    // the goroutine that restarts server
	leave  context.CancelFunc
}

// Alone reports to a worker whether no other process has joined the server. It is nil
// for a server elsewhere.
func (s *Session) Alone() func() bool {
	if s.Server == nil {
		return nil
	}
	return func() bool { return !s.Server.Joined() }
}

// Close ends the connection, then the server, then the store.
func (s *Session) Close() {
	if s.Conn != nil {
		s.Conn.Close()
	}
	if s.Server != nil {
		s.leave()
		s.mends.Wait()
		s.Server.Close()
	}
	s.file.Close()
	if s.Store != nil {
		s.Store.Close()
	}
}

// StoreRole is the use that a process makes of the store that it holds.
type StoreRole int

// The roles of a process that holds a store.
const (
	RoleRun   StoreRole = iota
	RoleRead            // and ends soon
	RoleServe           // takes the runs of others
)

// Hosting configures an embedded server.
type Hosting struct {
	Token string // of its clients, when it does not listen
	Door  *Door  // nil = it listens only for programs that find it by its store
	As    StoreRole
	Sync  bool // every write is on disk before it is acknowledged

	Lost context.CancelCauseFunc // called when the store is removed, to end its users; may be nil
}

// Opener opens sessions.
type Opener struct {
	NATS     *connect.Dialer
	Log      func() *slog.Logger // for sessions that only read
	KeyFiles []string            // of signing keys; the first signs; none = the default file

	keys *signing.Keyring // nil = not loaded
}

// Embed starts a server on the store and connects to it. It closes the store with the
// session, and when it fails.
func (o *Opener) Embed(ctx context.Context, st *store.Dir, h Hosting, log *slog.Logger) (*Session, error) {
	s := &Session{Store: st}
	server, err := o.embedServer(ctx, s, h, log)
	if err != nil {
		s.Close()
		return nil, exit.Infrastructuref("embedded NATS server on %s: %w", st.Path, err)
	}
	s.lookAfter(ctx, server, h.Lost)
	s.Conn, err = broker.Connect(ctx, broker.Config{
		URL: "nats://" + server.Address(), Name: "modpipe " + o.NATS.Program, Options: server.Options(),
		ConnectTimeout: 30 * time.Second, Logger: log,
	})
	if err == nil {
		s.Conn = o.withKeys(s.Conn)
		err = st.Announce(store.Holder{URL: server.URL(), Token: h.secret(), Pin: h.pin(), Reader: h.As == RoleRead, Serves: h.As == RoleServe})
	}
	if err != nil {
		s.Close()
		return nil, exit.Infrastructuref("embedded NATS server on %s: %w", st.Path, err)
	}
	return s, nil
}

// embedServer starts the server. When its port is known, it announces the server before
// the server listens. Otherwise the server would refuse a program that waits for it.
func (o *Opener) embedServer(ctx context.Context, s *Session, h Hosting, log *slog.Logger) (*natsembed.Server, error) {
	cfg := natsembed.Config{Store: s.Store.Data(), Token: h.secret(), SyncAlways: h.Sync, Logger: log}
	if h.Door == nil {
		return natsembed.Start(cfg)
	}
	announce := func(address string) {
		var err error
		if s.file, err = h.Door.announce(ctx, address); err != nil {
			log.Warn("programs of this user do not find the NATS server by themselves: they need the flags of a worker", "error", err)
		}
	}
	cfg.Listen, cfg.Certificate, cfg.Guest = h.Door.address, h.Door.Cert, h.Door.Guest
	early := h.Door.knownPort() && AddressFree(h.Door.address)
	if early {
		announce(h.Door.address)
	}
	server, err := natsembed.Start(cfg)
	if err == nil && !early {
		announce(server.Address())
	}
	return server, err
}

func (h Hosting) secret() string {
	if h.Door != nil {
		return h.Door.Token
	}
	return h.Token
}

func (h Hosting) pin() string {
	if h.Door != nil {
		return h.Door.Pin
	}
	return ""
}

// lookAfter restarts the server after its disk was full, until Close. It calls lost
// when the store was removed.
func (s *Session) lookAfter(ctx context.Context, server *natsembed.Server, lost context.CancelCauseFunc) {
	ctx, s.leave = context.WithCancel(context.WithoutCancel(ctx))
	s.Server = server
	s.mends.Go(func() {
		if err := server.Repair(ctx); err != nil && lost != nil {
			lost(exit.Infrastructuref("embedded NATS server on %s: %w while this process used it; its runs and their logs are lost.\nStart again: a new store is created", s.Store.Path, err))
		}
	})
}

// OpenFor is open for a file in dir.
func (o *Opener) OpenFor(ctx context.Context, p store.Location, dir string) (*Session, error) {
	if t, ok, err := o.NATS.Named(); err != nil {
		return nil, err
	} else if ok {
		return o.OpenRemote(ctx, t)
	}
	_, storeDir, err := p.Resolve(o.NATS.Env, dir)
	if err != nil {
		return nil, err
	}
	return o.openStore(ctx, storeDir)
}

// OpenRemote connects to a server elsewhere.
func (o *Opener) OpenRemote(ctx context.Context, t connect.Target) (*Session, error) {
	c, err := o.Dial(ctx, t, o.NATS.Connection.ConnectTimeout, o.Log())
	if err != nil {
		return nil, err
	}
	return &Session{Conn: c}, nil
}

// openStore connects to the holder of the store, or holds it.
func (o *Opener) openStore(ctx context.Context, dir string) (*Session, error) {
	if err := store.Exists(dir); err != nil {
		return nil, err
	}
	patience, stop := context.WithTimeout(ctx, o.NATS.Connection.ConnectTimeout)
	defer stop()
	for {
		st, err := store.Hold(dir)
		if err == nil {
			s, err := o.Embed(ctx, st, Hosting{Token: store.NewToken(), As: RoleRead}, o.Log())
			if err == nil {
				s.Dead = true
			}
			return s, err
		}
		if !errors.Is(err, store.ErrHeld) {
			return nil, err
		}
		if h, ok := store.ReadHolder(dir); ok {
			if c, err := o.Join(ctx, h, time.Second); err == nil {
				return &Session{Conn: c}, nil
			}
		}
		if pause.For(patience, 50*time.Millisecond) != nil { // the holder is starting or ending
			return nil, exit.Infrastructuref("the store %s is held by a process that does not answer", dir)
		}
	}
}

// CheckListen checks HOST:PORT. open reports whether other machines can reach it.
func CheckListen(listen string) (open bool, err error) {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false, exit.Usagef("%q is not HOST:PORT", listen)
	}
	if host == "localhost" {
		return false, nil
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsLoopback(), nil
}

// AddressFree reports whether the address is free.
func AddressFree(address string) bool {
	l, err := net.Listen("tcp", address) //nolint:noctx // binding does not wait
	if err != nil {
		return false
	}
	return l.Close() == nil
}
