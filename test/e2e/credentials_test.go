package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/modpipe/modpipe/test/natstest"
)

// keep writes a secret where programs read it.
func keep(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newUser is a user's key: its seed, and its name.
func newUser(t *testing.T) (seed, public string) {
	t.Helper()
	kp, err := nkeys.CreateUser()
	return seedOf(t, kp, err), publicOf(t, kp)
}

func seedOf(t *testing.T, kp nkeys.KeyPair, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := kp.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return string(seed)
}

func publicOf(t *testing.T, kp nkeys.KeyPair) string {
	t.Helper()
	public, err := kp.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// operated is a server of an operator, with an account for modpipe.
type operated struct {
	*natstest.Server
	account nkeys.KeyPair
}

// operator starts a server in operator mode, in which an operator signs accounts and
// users.
func operator(t *testing.T) *operated {
	t.Helper()
	boss, err := nkeys.CreateOperator()
	seedOf(t, boss, err)
	account, err := nkeys.CreateAccount()
	seedOf(t, account, err)
	system, err := nkeys.CreateAccount()
	seedOf(t, system, err)
	resolver := &server.MemAccResolver{}
	for _, kp := range []nkeys.KeyPair{account, system} {
		claims := jwt.NewAccountClaims(publicOf(t, kp))
		if kp == account {
			claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
		}
		text, err := claims.Encode(boss)
		if err != nil {
			t.Fatal(err)
		}
		if err := resolver.Store(publicOf(t, kp), text); err != nil {
			t.Fatal(err)
		}
	}
	claims := jwt.NewOperatorClaims(publicOf(t, boss))
	claims.SystemAccount = publicOf(t, system)
	return &operated{natstest.StartServer(t, func(o *server.Options) {
		o.TrustedOperators, o.AccountResolver, o.SystemAccount = []*jwt.OperatorClaims{claims}, resolver, publicOf(t, system)
	}), account}
}

// creds writes the credentials of a user of an account.
func creds(t *testing.T, account nkeys.KeyPair, change func(*jwt.UserClaims)) string {
	t.Helper()
	seed, public := newUser(t)
	claims := jwt.NewUserClaims(public)
	change(claims)
	text, err := claims.Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	file, err := jwt.FormatUserConfig(text, []byte(seed))
	if err != nil {
		t.Fatal(err)
	}
	return keep(t, "user.creds", string(file))
}

func anybody(*jwt.UserClaims) {}

// context writes a context of the nats CLI.
func (p *place) context(t *testing.T, fields map[string]any) access {
	t.Helper()
	dir := filepath.Join(p.home, "config", "nats", "context")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "there.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return access{args: []string{"--context", "there"}}
}

// guarded are servers that require credentials, of every kind.
type guarded struct {
	password, token, nkey, first *natstest.Server
	operated                     *operated
	ca, client                   certificate
	seed                         string
}

func guard(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{operated: operator(t)}
	seed, public := newUser(t)
	g.seed = seed
	g.password = natstest.StartServer(t, func(o *server.Options) { o.Username, o.Password = "me", "secret" })
	g.token = natstest.StartServer(t, func(o *server.Options) { o.Authorization = "secret" })
	g.nkey = natstest.StartServer(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })
	ours := newAuthority(t, "ours")
	g.ca, g.client = certificate{file: ours.file}, ours.issue(t, "client", time.Now().Add(time.Hour))
	cert := ours.issue(t, "server", time.Now().Add(time.Hour), "127.0.0.1")
	g.first = natstest.StartServer(t, func(o *server.Options) {
		o.TLS, o.TLSVerify, o.TLSConfig, o.TLSHandshakeFirst = true, true, ours.server(t, cert, true), true
		o.Username, o.Password = "me", "secret"
	})
	return g
}

func withUser(s *natstest.Server, user string) string {
	return strings.Replace(s.URL(), "://", "://"+user+"@", 1)
}

// TestCredentials: every kind of credentials, by flag, variable and context.
func TestCredentials(t *testing.T) {
	g := guard(t)
	seed, user := keep(t, "user.nk", g.seed), creds(t, g.operated.account, anybody)
	for name, a := range map[string]access{
		"password":       {args: []string{"--server", withUser(g.password, "me:secret")}},
		"token file":     {args: []string{"--server", g.token.URL(), "--token-file", keep(t, "token", "secret\n")}},
		"token variable": {env: []string{"NATS_URL=" + g.token.URL(), "NATS_TOKEN=secret"}},
		"token in URL":   {env: []string{"NATS_URL=" + withUser(g.token, "secret")}},
		"nkey":           {args: []string{"--server", g.nkey.URL(), "--nkey", seed}},
		"nkey variable":  {env: []string{"NATS_URL=" + g.nkey.URL(), "NATS_NKEY=" + seed}},
		"creds":          {args: []string{"--server", g.operated.URL(), "--creds", user}},
		"creds variable": {env: []string{"NATS_URL=" + g.operated.URL(), "NATS_CREDS=" + user}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newPlace(t, workers).enters(t, a)
		})
	}
	for name, fields := range map[string]map[string]any{
		"password": {"url": g.password.URL(), "user": "me", "password": "secret"},
		"token":    {"url": g.token.URL(), "token": "secret"},
		"nkey":     {"url": g.nkey.URL(), "nkey": seed},
		"creds":    {"url": g.operated.URL(), "creds": user},
		"TLS first": {
			"url": g.first.URL(), "user": "me", "password": "secret", "tls_first": true,
			"ca": g.ca.file, "cert": g.client.file, "key": g.client.key,
		},
	} {
		t.Run("context/"+name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, workers)
			p.enters(t, p.context(t, fields))
		})
	}
}

// TestWrongCredentials checks that a refused program reports why immediately, and prints
// no secret.
func TestWrongCredentials(t *testing.T) {
	g := guard(t)
	stranger, err := nkeys.CreateAccount()
	seedOf(t, stranger, err)
	other, _ := newUser(t)
	old := creds(t, g.operated.account, func(c *jwt.UserClaims) { c.Expires = time.Now().Add(-time.Minute).Unix() })
	to := func(s *natstest.Server, args ...string) access {
		return access{args: append([]string{"--server", s.URL()}, args...)}
	}
	const denied = "does not accept these credentials"
	for name, c := range map[string]struct {
		a    access
		exit int
		says []string
	}{
		"nobody":                   {to(g.password), 3, []string{denied, g.password.URL(), "none were given: --creds, --nkey"}},
		"password":                 {access{args: []string{"--server", withUser(g.password, "me:hidden")}}, 3, []string{denied, "check the credentials"}},
		"token":                    {to(g.token, "--token-file", keep(t, "token", "hidden")), 3, []string{denied, "check the credentials"}},
		"nkey":                     {to(g.nkey, "--nkey", keep(t, "user.nk", other)), 3, []string{denied, "check the credentials"}},
		"no nkey":                  {to(g.nkey, "--nkey", keep(t, "user.nk", "hidden")), 2, []string{"NATS credentials"}},
		"creds of another account": {to(g.operated.Server, "--creds", creds(t, stranger, anybody)), 3, []string{denied, "check the credentials"}},
		"creds that have expired":  {to(g.operated.Server, "--creds", old), 3, []string{denied, "are out of date since"}},
		"no creds":                 {to(g.operated.Server, "--creds", keep(t, "user.creds", "hidden")), 2, []string{"NATS credentials", "user.creds"}},
		"an unknown context":       {access{args: []string{"--context", "nowhere"}}, 2, []string{"--context", "nowhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newPlace(t, workers).isRefused(t, c.a, c.exit, c.says...)
		})
	}
}
