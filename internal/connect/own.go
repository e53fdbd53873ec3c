package connect

import (
	"cmp"
	"crypto/tls"
	"net"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/store"
)

// ownServer connects a program to the server that another process of its user has at an
// address of this machine. It searches for that server again before each connection: a
// worker may start before the server, and another server may replace it. Another server
// must not receive the token.
type ownServer struct {
	state  string // directory
	host   string // as the user named it
	port   string
	known  bool // the user names credentials, which take precedence
	worker bool // the program needs no more than the token of workers
}

// ownServerAt returns the ownServer of a target on loopback.
func (d *Dialer) ownServerAt(t Target) (ownServer, bool) {
	address := t.URL
	if !strings.Contains(address, "://") {
		address = "nats://" + address
	}
	u, err := url.Parse(address)
	if err != nil || strings.Contains(address, ",") || u.Scheme != "nats" && u.Scheme != "tls" {
		return ownServer{}, false
	}
	ip := net.ParseIP(u.Hostname())
	if u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return ownServer{}, false
	}
	o := t.applied()
	known := u.User != nil || o.Token != "" || o.TokenHandler != nil || o.User != "" || o.Nkey != "" || o.UserJWT != nil || o.UserInfo != nil
	return ownServer{store.StateDir(d.Env), u.Hostname(), cmp.Or(u.Port(), "4222"), known, d.Worker}, true
}

// option returns the option of a connection. It keeps the user's settings for TLS.
func (s ownServer) option(o *nats.Options) error {
	d := &ownDialer{own: s, inner: o.CustomDialer}
	if d.inner == nil {
		d.inner = &net.Dialer{Timeout: o.Timeout}
	}
	o.CustomDialer = d
	if !s.known {
		o.TokenHandler = d.token
	}
	if o.TLSConfig == nil && o.RootCAsCB == nil && o.TLSCertCB == nil {
		verifyBy(o, d.verify)
	}
	return nil
}

// ownDialer is the ownServer of one connection.
type ownDialer struct {
	own   ownServer
	inner nats.CustomDialer
	found atomic.Pointer[store.Listening] // server of the last connection; nil = another server
}

// Dial implements nats.CustomDialer. For a name, it dials the address of the announced
// server: another user may listen at the other addresses of the name.
func (d *ownDialer) Dial(network, address string) (net.Conn, error) {
	d.found.Store(nil)
	l, ok := store.ReadListening(d.own.state, d.own.port)
	if ok && l.At(d.own.host, d.own.port) {
		d.found.Store(&l)
		if host, _, err := net.SplitHostPort(l.Address); err == nil && d.own.host == "localhost" && !unspecified(host) {
			address = l.Address
		}
	}
	return d.inner.Dial(network, address)
}

func (d *ownDialer) token() string {
	l := d.found.Load()
	switch {
	case l == nil:
		return ""
	case d.own.worker:
		return l.WorkerToken()
	}
	return l.Token()
}

func (d *ownDialer) verify(cs tls.ConnectionState) error {
	if l := d.found.Load(); l != nil {
		if pin, ok := parsePin(l.Pin); ok {
			return pin.verify(cs)
		}
	}
	return verifyAsUsual(cs)
}

func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}
