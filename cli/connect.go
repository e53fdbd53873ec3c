package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/broker"
)

// This file and connect_*.go alone know nats.go: what users say about
// servers and credentials becomes options of a connection.

// defaultServer is where a worker looks when nothing names a server.
const defaultServer = nats.DefaultURL

// target is a NATS server, and what gets us in.
type target struct {
	url     string
	origin  string // the flag, variable or file that named it
	options []nats.Option
}

// shown is the target's address without credentials.
func (t target) shown() string { return redact(t.url) }

// describe is the target as the first line of a run names it.
func (t target) describe() string {
	if t.origin == "" {
		return t.shown()
	}
	return t.shown() + ", from " + t.origin
}

// remote is the server that the settings name; false when they name none.
func (a *app) remote() (target, bool, error) {
	s := &a.set.connection
	origin := ""
	for _, flag := range []string{"server", "context", "creds", "nkey", "tlsca", "tlscert", "tlskey", "tls-pin", "token-file"} {
		if o := a.bind.origin[flag]; o != "" {
			origin = o
			break
		}
	}
	if origin == "" || s.server == embedded {
		return target{}, false, nil
	}
	t, err := a.target(s)
	t.origin = origin
	return t, true, err
}

// target turns settings into a URL and options, as the nats CLI does: a
// context first, and over it whatever else is set.
func (a *app) target(s *connection) (target, error) {
	if err := a.checkSettings(s); err != nil {
		return target{}, err
	}
	server, options, err := a.contextOptions(s)
	if err != nil {
		return target{}, err
	}
	token, err := a.token(s)
	if err != nil {
		return target{}, err
	}
	if token != "" {
		options = append(options, nats.Token(token))
	}
	if err := checkOptions(options); err != nil {
		return target{}, usageError("NATS credentials: %w", err)
	}
	if pin, ok := parsePin(s.tlsPin); ok {
		options = append(options, pin.option)
	}
	t := target{url: cmp.Or(server, nats.DefaultURL), options: options}
	if own, ok := a.ownServerAt(t); ok {
		t.options = append(t.options, own.option)
	}
	return t, nil
}

// checkSettings says at once which of the files that were named are not there,
// and what is no address.
func (a *app) checkSettings(s *connection) error {
	var faults []string
	for _, f := range []struct{ flag, path string }{
		{"creds", s.creds},
		{"nkey", s.nkey},
		{"tlsca", s.tlsCA},
		{"tlscert", s.tlsCert},
		{"tlskey", s.tlsKey},
		{"token-file", s.tokenFile},
	} {
		if f.path == "" || strings.Contains(f.path, "://") || strings.HasPrefix(f.path, "~") || strings.HasPrefix(f.path, "data:") {
			continue
		}
		if _, err := os.Stat(f.path); err != nil {
			faults = append(faults, fmt.Sprintf("--%s%s: %v", f.flag, a.bind.fromOf(f.flag), err))
		}
	}
	if text := addressFault(s.server); text != "" {
		faults = append(faults, fmt.Sprintf("--server%s: %s; an address is nats://host:4222, or several separated by commas", a.bind.fromOf("server"), text))
	}
	if _, ok := parsePin(s.tlsPin); s.tlsPin != "" && !ok {
		faults = append(faults, fmt.Sprintf("--tls-pin%s: %q is not sha256: and 64 hexadecimal digits", a.bind.fromOf("tls-pin"), s.tlsPin))
	}
	if (s.tlsCert == "") != (s.tlsKey == "") && s.context == "" {
		faults = append(faults, "--tlscert and --tlskey belong together: one of them is not set")
	}
	return faultList(faults)
}

// token is the server's token from a file, else from NATS_TOKEN: a secret is
// never a flag.
func (a *app) token(s *connection) (string, error) {
	if s.tokenFile == "" {
		return a.env["NATS_TOKEN"], nil
	}
	text, err := os.ReadFile(s.tokenFile)
	if err != nil {
		return "", usageError("--token-file%s: %w", a.bind.fromOf("token-file"), err)
	}
	return strings.TrimSpace(string(text)), nil
}

// dial connects to a target. timeout 0 goes on trying until ctx ends.
func (a *app) dial(ctx context.Context, t target, timeout time.Duration, log *slog.Logger) (*broker.Conn, error) {
	c, err := broker.Connect(ctx, broker.Config{
		URL: t.url, Name: "modpipe " + a.program, Options: t.options, ConnectTimeout: timeout, Replicas: a.set.replicas, Logger: log,
	})
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, broker.ErrDenied), errors.Is(err, broker.ErrRefused), errors.Is(err, broker.ErrInsecure):
		return nil, infrastructureError("NATS at %s: %w\n%s", t.describe(), err, t.refusedAdvice(err))
	case errors.Is(err, broker.ErrUnreachable), errors.Is(err, context.DeadlineExceeded):
		return nil, infrastructureError("NATS at %s cannot be reached: %w\nis a server running there? --server names another%s",
			t.describe(), err, embedHint(a.program))
	}
	return nil, infrastructureError("NATS at %s: %w", t.describe(), err)
}

func embedHint(program string) string {
	if program == "orchestrator" {
		return "; --server embedded needs none"
	}
	return ""
}

// enter connects to a server that another process of this user embeds.
func (a *app) enter(ctx context.Context, h holder, timeout time.Duration) (*broker.Conn, error) {
	t := target{url: h.URL}
	if h.Token != "" {
		t.options = append(t.options, nats.Token(h.Token))
	}
	if pin, ok := parsePin(h.Pin); ok {
		t.options = append(t.options, pin.option)
	}
	return a.dial(ctx, t, timeout, slog.New(slog.DiscardHandler))
}

// watchConnection calls down and up as the connection goes and comes, and
// gone once it has been down for limit. It returns when ctx ends.
func watchConnection(ctx context.Context, c *broker.Conn, limit time.Duration, down, up, gone func()) {
	changes := c.StatusChanged(ctx, nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED)
	var over <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-over:
			gone()
			return
		case status := <-changes:
			switch {
			case status == nats.CONNECTED && over != nil:
				over = nil
				up()
			case status != nats.CONNECTED && over == nil:
				over = time.After(limit)
				down()
			}
		}
	}
}

// addressFault is what is wrong with the addresses of servers; they are not
// shown as they are, because of the passwords in them.
func addressFault(servers string) string {
	if servers == "" || servers == embedded {
		return ""
	}
	for server := range strings.SplitSeq(servers, ",") {
		server = strings.TrimSpace(server)
		if !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		u, err := url.Parse(server)
		if err != nil || u.Hostname() == "" {
			return redact(server) + " is no address of a server"
		}
		if n, err := strconv.ParseUint(cmp.Or(u.Port(), "0"), 10, 16); err != nil || n == 0 && u.Port() != "" {
			return redact(server) + " has a port that is none"
		}
	}
	return ""
}

// redact takes credentials out of server URLs.
func redact(servers string) string {
	var shown []string
	for s := range strings.SplitSeq(servers, ",") {
		s = strings.TrimSpace(s)
		if !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		u, err := url.Parse(s)
		if err != nil {
			shown = append(shown, "nats://…")
			continue
		}
		u.User, u.RawQuery = nil, ""
		shown = append(shown, u.String())
	}
	return strings.Join(shown, ",")
}
