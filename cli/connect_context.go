//go:build !natscontext

package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"
)

// natsContext is a file of the nats CLI's, as far as a connection asks.
type natsContext struct {
	URL         string `json:"url"`
	User        string `json:"user"`
	Password    string `json:"password"`
	Token       string `json:"token"`
	Creds       string `json:"creds"`
	NKey        string `json:"nkey"`
	UserJWT     string `json:"user_jwt"`
	UserSeed    string `json:"user_seed"`
	CA          string `json:"ca"`
	Cert        string `json:"cert"`
	Key         string `json:"key"`
	InboxPrefix string `json:"inbox_prefix"`
	TLSFirst    bool   `json:"tls_first"`
	NSC         string `json:"nsc"`         // not understood
	SocksProxy  string `json:"socks_proxy"` // not understood
}

// contextOptions lays settings over a context of the nats CLI.
func (a *app) contextOptions(s *connection) (server string, options []nats.Option, err error) {
	var c natsContext
	if s.context != "" {
		if c, err = a.readContext(s.context); err != nil {
			return "", nil, usageError("--context%s: %w", a.bind.fromOf("context"), err)
		}
	}
	c.URL = cmp.Or(s.server, c.URL)
	c.Creds, c.NKey = cmp.Or(s.creds, c.Creds), cmp.Or(s.nkey, c.NKey)
	c.CA, c.Cert, c.Key = cmp.Or(s.tlsCA, c.CA), cmp.Or(s.tlsCert, c.Cert), cmp.Or(s.tlsKey, c.Key)
	options, err = a.options(c)
	return c.URL, options, err
}

func (a *app) readContext(name string) (natsContext, error) {
	dir := a.env["XDG_CONFIG_HOME"]
	if dir == "" {
		dir = filepath.Join(a.env["HOME"], ".config")
	}
	if name != filepath.Base(name) {
		return natsContext{}, fmt.Errorf("%q is not the name of a context", name)
	}
	path := filepath.Join(dir, "nats", "context", name+".json")
	text, err := os.ReadFile(path)
	if err != nil {
		return natsContext{}, fmt.Errorf("context %q: %w", name, err)
	}
	var c natsContext
	if err := json.Unmarshal(text, &c); err != nil {
		return natsContext{}, fmt.Errorf("%s: %w", path, err)
	}
	for _, secret := range []string{c.Creds, c.NKey, c.Token, c.Password, c.UserJWT, c.UserSeed} {
		if scheme, _, ok := strings.Cut(secret, "://"); ok && scheme != "file" {
			return natsContext{}, fmt.Errorf("%s: credentials by %s:// are not understood; name a file", path, scheme)
		}
	}
	if c.NSC != "" || c.SocksProxy != "" {
		return natsContext{}, fmt.Errorf("%s: nsc and socks_proxy are not understood; name creds and a url", path)
	}
	return c, nil
}

func (a *app) options(c natsContext) ([]nats.Option, error) {
	var o []nats.Option
	switch {
	case c.User != "":
		o = append(o, nats.UserInfo(c.User, c.Password))
	case c.Creds != "":
		o = append(o, nats.UserCredentials(a.home(c.Creds)))
	case c.NKey != "":
		key, err := nats.NkeyOptionFromSeed(a.home(c.NKey))
		if err != nil {
			return nil, usageError("--nkey%s: %w", a.bind.fromOf("nkey"), err)
		}
		o = append(o, key)
	case c.UserJWT != "":
		o = append(o, nats.UserJWTAndSeed(c.UserJWT, c.UserSeed))
	}
	if c.Token != "" {
		o = append(o, nats.Token(c.Token))
	}
	if c.Cert != "" && c.Key != "" {
		o = append(o, nats.ClientCert(a.home(c.Cert), a.home(c.Key)))
	}
	if c.CA != "" {
		o = append(o, nats.RootCAs(a.home(c.CA)))
	}
	if c.InboxPrefix != "" {
		o = append(o, nats.CustomInboxPrefix(c.InboxPrefix))
	}
	if c.TLSFirst {
		o = append(o, nats.TLSHandshakeFirst())
	}
	return o, nil
}

// home spells a leading ~ and $VARIABLES out, and takes file:// off.
func (a *app) home(path string) string {
	path = strings.TrimPrefix(path, "file://")
	if path == "~" || strings.HasPrefix(path, "~/") {
		path = a.env["HOME"] + path[1:]
	}
	return os.Expand(path, func(name string) string { return a.env[name] })
}
