package connect

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/store"
)

// TestTokenIsNotSentToAnotherServer checks a port whose announced server has ended. The
// server that has the port now receives no token.
func TestTokenIsNotSentToAnotherServer(t *testing.T) {
	home := t.TempDir()
	file := filepath.Join(home, "token")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			_ = c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	f, err := store.Announce(t.Context(), home, store.Listening{Address: l.Addr().String(), TokenFiles: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	var o nats.Options
	if err := (ownServer{state: home, host: "127.0.0.1", port: port}).option(&o); err != nil {
		t.Fatal(err)
	}
	dial := func() {
		t.Helper()
		c, err := o.CustomDialer.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	dial()
	if got := o.TokenHandler(); got != "secret" {
		t.Errorf("the live server receives %q", got)
	}
	path := filepath.Join(home, "listen", port+".json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := os.WriteFile(path, text, 0o600); err != nil { // as a killed process leaves it
		t.Fatal(err)
	}
	dial()
	if got := o.TokenHandler(); got != "" {
		t.Errorf("another server receives %q", got)
	}
	if err := o.TLSConfig.VerifyConnection(tls.ConnectionState{}); err == nil {
		t.Error("a server without a certificate is accepted")
	}
}
