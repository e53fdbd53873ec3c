package cli

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
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
	"github.com/modpipe/modpipe/internal/ident"
)

// listener embeds a server that listens, for a user with a state directory.
func listener(t *testing.T, home string, o listenOptions) (*session, *door) {
	t.Helper()
	a := newApp("orchestrator", Process{Env: []string{"XDG_STATE_HOME=" + home}})
	st, err := hold(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := a.doorOf(st, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.embed(t.Context(), st, hosting{door: d, as: roleServe}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s, d
}

// join connects as a program of a user with that state directory and these
// further variables would.
func join(t *testing.T, home string, env ...string) error {
	t.Helper()
	a := newApp("orchestrator", Process{Env: append([]string{"XDG_STATE_HOME=" + home}, env...)})
	a.bind.adopt(a.root("test"))
	a.set.server, a.set.timeout = "", 20*time.Second
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		switch name {
		case "NATS_URL":
			a.set.server = value
		case "NATS_TLS_PIN":
			a.set.tlsPin = value
		}
	}
	target, err := a.target(&a.set.connection)
	if err != nil {
		return err
	}
	c, err := a.dial(t.Context(), target, a.set.timeout, slog.New(slog.DiscardHandler))
	if err == nil {
		c.Close()
	}
	return err
}

func portOf(t *testing.T, s *session) string {
	t.Helper()
	_, port, err := net.SplitHostPort(s.server.Address())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestServerOnLoopbackLetsItsUserIn: programs of the same user join without
// flags; others need the token; what the user says of itself wins.
func TestServerOnLoopbackLetsItsUserIn(t *testing.T) {
	home := t.TempDir()
	s, d := listener(t, home, listenOptions{listen: "127.0.0.1:0"})
	port := portOf(t, s)
	url := "NATS_URL=nats://127.0.0.1:" + port
	for _, env := range [][]string{{url}, {"NATS_URL=localhost:" + port}, {url, "NATS_TOKEN=" + d.token}} {
		if err := join(t, home, env...); err != nil {
			t.Errorf("%v: %v", env, err)
		}
	}
	if err := join(t, t.TempDir(), url, "NATS_TOKEN="+d.token); err != nil {
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
	if text, err := os.ReadFile(path); err != nil || strings.Contains(string(text), d.token) {
		t.Errorf("the token itself is in %s (%v)", text, err)
	}
	s.close()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file outlives its server: %v", err)
	}
}

// TestServerBeyondLoopbackIsPinned: it speaks TLS with a certificate that is
// known by its fingerprint, or that of its key, and by nothing else.
func TestServerBeyondLoopbackIsPinned(t *testing.T) {
	home := t.TempDir()
	s, d := listener(t, home, listenOptions{listen: "0.0.0.0:0"})
	url := "NATS_URL=tls://127.0.0.1:" + portOf(t, s)
	token := "NATS_TOKEN=" + d.token
	leaf, err := x509.ParseCertificate(d.cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	key := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	for name, pin := range map[string]string{"certificate": d.pin, "bare": strings.TrimPrefix(d.pin, pinPrefix), "key": "sha256:" + strings.ToUpper(hex.EncodeToString(key[:]))} {
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
	if err := join(t, t.TempDir(), url, "NATS_TLS_PIN="+d.pin); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("without the token: %v", err)
	}
	if err := join(t, home, url, "NATS_TLS_PIN=abc"); err == nil || !strings.Contains(err.Error(), "--tls-pin") {
		t.Errorf("a pin that is none: %v", err)
	}
	command := d.joinCommand(t.Context(), "worker", s.server.URL())
	for _, word := range []string{"worker --server tls://", " --tls-pin " + d.pin, " --token-file " + d.tokenFile} {
		if !strings.Contains(command, word) {
			t.Errorf("%q is not in %q", word, command)
		}
	}
	if strings.Contains(command, d.token) {
		t.Errorf("the token is in %q", command)
	}
}

// TestOpenServerSaysSo: --no-token and --no-tls leave it open, with a warning.
func TestOpenServerSaysSo(t *testing.T) {
	s, d := listener(t, t.TempDir(), listenOptions{listen: "0.0.0.0:0", noToken: true, noTLS: true})
	if err := join(t, t.TempDir(), "NATS_URL=nats://127.0.0.1:"+portOf(t, s)); err != nil {
		t.Errorf("an open server refuses: %v", err)
	}
	if text := strings.Join(d.warnings(), "\n"); !strings.Contains(text, "--no-token") || !strings.Contains(text, "--no-tls") {
		t.Errorf("it says %q", text)
	}
	_, guarded := listener(t, t.TempDir(), listenOptions{listen: "0.0.0.0:0"})
	if w := guarded.warnings(); len(w) > 0 {
		t.Errorf("a guarded server says %q", w)
	}
}

// TestStaleListenFileMisleadsNobody: what a killed server has left, what is of
// another machine, and what others can write is not believed.
func TestStaleListenFileMisleadsNobody(t *testing.T) {
	state := t.TempDir()
	live, err := writeListening(t.Context(), state, listening{Address: "127.0.0.1:4222"})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := readListening(state, "4222"); !ok {
		t.Fatal("a live one is not found")
	}
	if _, err := writeListening(t.Context(), state, listening{Address: "127.0.0.2:4222"}); err == nil {
		t.Error("two servers announce themselves at one port")
	}
	path := listenPath(state, "4222")
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, ok := readListening(state, "4222"); ok {
		t.Error("a file that others can write is believed")
	}
	text, err := json.Marshal(listening{Address: "127.0.0.1:4222", Host: "elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := readListening(state, "4222"); ok {
		t.Error("a server of another machine is believed to be of this one")
	}
	live.close()
	text, err = json.Marshal(listening{Address: "127.0.0.1:4222", Host: ident.Host(), PID: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := readListening(state, "4222"); ok {
		t.Error("a file whose server is gone is believed")
	}
	again, err := writeListening(t.Context(), state, listening{Address: "127.0.0.1:4222"})
	if err != nil {
		t.Fatalf("the next server: %v", err)
	}
	again.close()
}

// TestTokenIsNotToldToAnotherServer: where the server of a file is gone, the
// one that has its port now hears no token.
func TestTokenIsNotToldToAnotherServer(t *testing.T) {
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
	f, err := writeListening(t.Context(), home, listening{Address: l.Addr().String(), TokenFiles: []string{file}})
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
		t.Errorf("the live server is told %q", got)
	}
	_ = f.lock.Close() // as when the process is killed
	dial()
	if got := o.TokenHandler(); got != "" {
		t.Errorf("another server is told %q", got)
	}
	if err := o.TLSConfig.VerifyConnection(tls.ConnectionState{}); err == nil {
		t.Error("a server without a certificate is accepted")
	}
}

// TestSecretsOfOthersAreRefused: a token that others may know is no token.
func TestSecretsOfOthersAreRefused(t *testing.T) {
	st := &store{dir: t.TempDir()}
	if _, path, err := st.token(); err != nil {
		t.Fatal(err)
	} else if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := st.token(); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("a token that all can read: %v", err)
	}
	if err := os.Remove(filepath.Join(st.dir, "token")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(st.dir, "elsewhere"), filepath.Join(st.dir, "token")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := st.token(); err == nil {
		t.Error("a token behind a symbolic link is taken")
	}
	_, pin, err := st.certificate()
	if err != nil {
		t.Fatal(err)
	}
	if _, again, err := st.certificate(); err != nil || again != pin {
		t.Errorf("the certificate is another the second time: %s, %s, %v", pin, again, err)
	}
}

// TestTemporaryStoreMustBeOurs: without HOME the store is below a name that
// can be foreseen, so only a closed directory of ours will do.
func TestTemporaryStoreMustBeOurs(t *testing.T) {
	for name, c := range map[string]struct {
		make func(top string) error
		want string
	}{
		"none":          {func(string) error { return nil }, ""},
		"ours":          {func(top string) error { return os.Mkdir(top, 0o700) }, ""},
		"open":          {func(top string) error { return errors.Join(os.Mkdir(top, 0o700), os.Chmod(top, 0o755)) }, "mode 0755"},
		"symbolic link": {func(top string) error { return os.Symlink(t.TempDir(), top) }, "symbolic link"},
		"file":          {func(top string) error { return os.WriteFile(top, nil, 0o600) }, "not a directory"},
	} {
		t.Setenv("TMPDIR", t.TempDir())
		if err := c.make(temporaryState()); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(stateDir(environment{}), "ws")
		s, err := hold(dir)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			s.close()
			if info, err := os.Lstat(temporaryState()); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s: %v, %v", name, info, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "--store") {
			t.Errorf("%s: %v", name, err)
		}
		if err := storeExists(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, read: %v", name, err)
		}
	}
}

// TestStateOfAUserWithoutAUsableHome: containers give their users a home
// directory in which nothing can be made.
func TestStateOfAUserWithoutAUsableHome(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env  environment
		want string
	}{
		{environment{"HOME": dir}, filepath.Join(dir, ".local/state/modpipe")},
		{environment{"HOME": filepath.Join(dir, "new")}, filepath.Join(dir, "new/.local/state/modpipe")},
		{environment{"HOME": file}, temporaryState()},
		{environment{}, temporaryState()},
		{environment{"HOME": file, "XDG_STATE_HOME": file}, filepath.Join(file, "modpipe")},
	} {
		if got := stateDir(c.env); got != c.want {
			t.Errorf("%v: %s, want %s", c.env, got, c.want)
		}
	}
}

// TestShellWord: a printed command survives the shell.
func TestShellWord(t *testing.T) {
	for word, want := range map[string]string{"/a/b-1.c": "/a/b-1.c", "/a b": "'/a b'", "it's": `'it'\''s'`, "": "''", "$x": "'$x'"} {
		if got := shellWord(word); got != want {
			t.Errorf("%q becomes %q", word, got)
		}
	}
	if name := reachableName(context.Background()); name == "" {
		t.Error("this machine has no name")
	}
}
