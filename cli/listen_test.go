package cli

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/store"
)

// listener embeds a server that listens, for a user with a state directory.
func listener(t *testing.T, home string, o access.ListenOptions) (*access.Session, *access.Door) {
	t.Helper()
	a := newApp("orchestrator", Process{Env: []string{"XDG_STATE_HOME=" + home}})
	st, err := store.Hold(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := access.NewDoor(st, o, store.StateDir(a.env))
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.sessions.Embed(t.Context(), st, access.Hosting{Door: d, As: access.RoleServe}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, d
}

// join connects as a program of a user with that state directory and these
// further variables would.
func join(t *testing.T, home string, env ...string) error {
	t.Helper()
	a := newApp("orchestrator", Process{Env: append([]string{"XDG_STATE_HOME=" + home}, env...)})
	a.bind.Adopt(a.root("test"))
	a.set.Server, a.set.ConnectTimeout = "", 20*time.Second
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		switch name {
		case "NATS_URL":
			a.set.Server = value
		case "NATS_TLS_PIN":
			a.set.TLSPin = value
		}
	}
	target, err := a.nats.Target(&a.set.Connection)
	if err != nil {
		return err
	}
	c, err := a.sessions.Dial(t.Context(), target, a.set.ConnectTimeout, slog.New(slog.DiscardHandler))
	if err == nil {
		c.Close()
	}
	return err
}

func portOf(t *testing.T, s *access.Session) string {
	t.Helper()
	_, port, err := net.SplitHostPort(s.Server.Address())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestServerOnLoopbackLetsItsUserIn: programs of the same user join without
// flags; others need the token; what the user says of itself wins.
func TestServerOnLoopbackLetsItsUserIn(t *testing.T) {
	home := t.TempDir()
	s, d := listener(t, home, access.ListenOptions{Listen: "127.0.0.1:0"})
	port := portOf(t, s)
	url := "NATS_URL=nats://127.0.0.1:" + port
	for _, env := range [][]string{{url}, {"NATS_URL=localhost:" + port}, {url, "NATS_TOKEN=" + d.Token}} {
		if err := join(t, home, env...); err != nil {
			t.Errorf("%v: %v", env, err)
		}
	}
	if err := join(t, t.TempDir(), url, "NATS_TOKEN="+d.Token); err != nil {
		t.Errorf("another user with the token: %v", err)
	}
	for name, err := range map[string]error{
		"another user":               join(t, t.TempDir(), url),
		"a wrong token of the user":  join(t, home, url, "NATS_TOKEN=wrong"),
		"a wrong token in the URL":   join(t, home, "NATS_URL=nats://wrong@127.0.0.1:"+port),
		"another loopback address":   join(t, home, "NATS_URL=nats://127.0.0.2:"+port),
		"a pin, where no TLS spoken": join(t, home, url, "NATS_TLS_PIN="+strings.Repeat("0", 64)),
	} {
		if err == nil {
			t.Errorf("%s is let in", name)
		}
	}
	path := filepath.Join(home, "modpipe", "listen", port+".json")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v", path, info, err)
	}
	if text, err := os.ReadFile(path); err != nil || strings.Contains(string(text), d.Token) {
		t.Errorf("the token itself is in %s (%v)", text, err)
	}
	s.Close()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file outlives its server: %v", err)
	}
}

// TestServerBeyondLoopbackIsPinned: it speaks TLS with a certificate that is
// known by its fingerprint, or that of its key, and by nothing else.
func TestServerBeyondLoopbackIsPinned(t *testing.T) {
	home := t.TempDir()
	s, d := listener(t, home, access.ListenOptions{Listen: "0.0.0.0:0"})
	url := "NATS_URL=tls://127.0.0.1:" + portOf(t, s)
	token := "NATS_TOKEN=" + d.Token
	leaf, err := x509.ParseCertificate(d.Cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	key := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	for name, pin := range map[string]string{"certificate": d.Pin, "bare": strings.TrimPrefix(d.Pin, store.PinPrefix), "key": "sha256:" + strings.ToUpper(hex.EncodeToString(key[:]))} {
		if err := join(t, t.TempDir(), url, token, "NATS_TLS_PIN="+pin); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := join(t, home, "NATS_URL=nats://127.0.0.1:"+portOf(t, s)); err != nil {
		t.Errorf("a program of the same user: %v", err)
	}
	if err := join(t, t.TempDir(), url, token); !errors.Is(err, broker.ErrInsecure) {
		t.Errorf("without a pin: %v", err)
	}
	err = join(t, t.TempDir(), url, token, "NATS_TLS_PIN="+strings.Repeat("0", 64))
	if !errors.Is(err, broker.ErrInsecure) || !strings.Contains(err.Error(), "not the pinned one") {
		t.Errorf("with another pin: %v", err)
	}
	if err := join(t, t.TempDir(), url, "NATS_TLS_PIN="+d.Pin); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("without the token: %v", err)
	}
	if err := join(t, home, url, "NATS_TLS_PIN=abc"); err == nil || !strings.Contains(err.Error(), "--tls-pin") {
		t.Errorf("an invalid pin: %v", err)
	}
	command := d.JoinCommand(t.Context(), "worker", s.Server.URL())
	for _, word := range []string{"worker --server tls://", " --tls-pin " + d.Pin, " --token-file " + d.GuestFile} {
		if !strings.Contains(command, word) {
			t.Errorf("%q is not in %q", word, command)
		}
	}
	if strings.Contains(command, d.Token) {
		t.Errorf("the token is in %q", command)
	}
}

// TestTokenOfWorkersAllowsNoMoreThanTheirRole: a worker finds it by itself, and the
// printed command names it.
func TestTokenOfWorkersAllowsNoMoreThanTheirRole(t *testing.T) {
	home := t.TempDir()
	s, d := listener(t, home, access.ListenOptions{Listen: "127.0.0.1:0"})
	a := newApp("worker", Process{Env: []string{"XDG_STATE_HOME=" + home}})
	a.bind.Adopt(a.root("test"))
	a.set.Server = "nats://127.0.0.1:" + portOf(t, s)
	a.nats.Worker = true
	target, err := a.nats.Target(&a.set.Connection)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.sessions.DialWorker(t.Context(), target, 20*time.Second, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Runs.OwnLast(t.Context(), "r", "m"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("the cell of an attempt: %v", err)
	}
	if _, err := c.Runs.Spec(t.Context(), "r"); !errors.Is(err, broker.ErrDenied) {
		t.Errorf("a specification: %v", err)
	}
	if _, err := c.API(t.Context(), "STREAM.DELETE.MP_RUNS", nil); !errors.Is(err, broker.ErrDenied) {
		t.Errorf("to delete a stream: %v", err)
	}
	if err := join(t, t.TempDir(), "NATS_URL="+a.set.Server, "NATS_TOKEN="+d.Guest.Token+"x"); err == nil {
		t.Error("a wrong token is accepted")
	}
}

// TestServerWithoutATokenIsReported: --no-token and --no-tls leave it open, with a warning.
func TestServerWithoutATokenIsReported(t *testing.T) {
	s, d := listener(t, t.TempDir(), access.ListenOptions{Listen: "0.0.0.0:0", NoToken: true, NoTLS: true})
	if err := join(t, t.TempDir(), "NATS_URL=nats://127.0.0.1:"+portOf(t, s)); err != nil {
		t.Errorf("an open server refuses: %v", err)
	}
	if text := strings.Join(d.Warnings(), "\n"); !strings.Contains(text, "--no-token") || !strings.Contains(text, "--no-tls") {
		t.Errorf("it says %q", text)
	}
	_, guarded := listener(t, t.TempDir(), access.ListenOptions{Listen: "0.0.0.0:0"})
	if w := guarded.Warnings(); len(w) > 0 {
		t.Errorf("a guarded server says %q", w)
	}
}

// TestShellWord: a printed command survives the shell.
func TestShellWord(t *testing.T) {
	for word, want := range map[string]string{"/a/b-1.c": "/a/b-1.c", "/a b": "'/a b'", "it's": `'it'\''s'`, "": "''", "$x": "'$x'"} {
		if got := access.ShellWord(word); got != want {
			t.Errorf("%q becomes %q", word, got)
		}
	}
	if name := access.ReachableName(context.Background()); name == "" {
		t.Error("this machine has no name")
	}
}
