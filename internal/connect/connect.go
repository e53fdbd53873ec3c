package connect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/redact"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/store"
)

// This package turns the settings for servers and credentials into options of nats.go.

// DefaultServer is the server of a worker whose settings name none.
const DefaultServer = nats.DefaultURL

// Target is a NATS server, with the options to connect to it.
type Target struct {
	URL     string
	Origin  string // the flag, variable or file that named it
	Options []nats.Option
	Inbox   string // prefix of the inboxes; "" = "_INBOX"
}

// Shown returns the target's address without credentials.
func (t Target) Shown() string { return redact.URLs(t.URL) }

// Describe returns the target as the first line of a run names it.
func (t Target) Describe() string {
	if t.Origin == "" {
		return t.Shown()
	}
	return t.Shown() + ", from " + t.Origin
}

// Dialer connects a program to the NATS servers of its settings.
type Dialer struct {
	Connection *settings.Connection
	Bind       *settings.Binder // knows the origins of the settings
	Env        settings.Environment
	Program    string // the connections are named after it
	Worker     bool   // the program is a worker: it has the worker's role where a server tells no other
}

// Named returns the server that the settings name; false when they name none.
func (d *Dialer) Named() (Target, bool, error) {
	s := d.Connection
	origin := ""
	for _, flag := range []string{"server", "context", "creds", "nkey", "tlsca", "tlscert", "tlskey", "tls-pin", "token-file"} {
		if o := d.Bind.Origin[flag]; o != "" {
			origin = o
			break
		}
	}
	if origin == "" || s.Server == settings.Embedded {
		return Target{}, false, nil
	}
	t, err := d.Target(s)
	t.Origin = origin
	return t, true, err
}

// Target turns settings into a URL and options, as the nats CLI does. Other settings
// override those of a context.
func (d *Dialer) Target(s *settings.Connection) (Target, error) {
	if err := d.checkSettings(s); err != nil {
		return Target{}, err
	}
	server, inbox, options, err := d.contextOptions(s)
	if err != nil {
		return Target{}, err
	}
	token, err := d.token(s)
	if err != nil {
		return Target{}, err
	}
	if token != "" {
		options = append(options, nats.Token(token))
	}
	if err := checkOptions(options); err != nil {
		return Target{}, exit.Usagef("NATS credentials: %w", err)
	}
	if pin, ok := parsePin(s.TLSPin); ok {
		options = append(options, pin.option)
	}
	t := Target{URL: cmp.Or(server, nats.DefaultURL), Options: options}
	if own, ok := d.ownServerAt(t); ok {
		t.Options = append(t.Options, own.option)
	}
	t.Inbox = cmp.Or(inbox, d.inbox(t))
	return t, nil
}

// checkSettings reports all missing files and invalid addresses together.
func (d *Dialer) checkSettings(s *settings.Connection) error {
	var faults []string
	for _, f := range []struct{ flag, path string }{
		{"creds", s.Creds},
		{"nkey", s.NKey},
		{"tlsca", s.TLSCA},
		{"tlscert", s.TLSCert},
		{"tlskey", s.TLSKey},
		{"token-file", s.TokenFile},
	} {
		if f.path == "" || strings.Contains(f.path, "://") || strings.HasPrefix(f.path, "~") || strings.HasPrefix(f.path, "data:") {
			continue
		}
		if _, err := os.Stat(f.path); err != nil {
			faults = append(faults, fmt.Sprintf("--%s%s: %v", f.flag, d.Bind.FromOf(f.flag), err))
		}
	}
	if text := addressFault(s.Server); text != "" {
		faults = append(faults, fmt.Sprintf("--server%s: %s; an address is nats://host:4222, or several separated by commas", d.Bind.FromOf("server"), text))
	}
	if inbox := s.InboxPrefix; strings.ContainsAny(inbox, " \t*>") || strings.HasSuffix(inbox, ".") {
		faults = append(faults, fmt.Sprintf("--inbox-prefix%s: %q cannot begin a subject", d.Bind.FromOf("inbox-prefix"), inbox))
	}
	if _, ok := parsePin(s.TLSPin); s.TLSPin != "" && !ok {
		faults = append(faults, fmt.Sprintf("--tls-pin%s: %q is not sha256: and 64 hexadecimal digits", d.Bind.FromOf("tls-pin"), s.TLSPin))
	}
	if (s.TLSCert == "") != (s.TLSKey == "") && s.Context == "" {
		faults = append(faults, "--tlscert and --tlskey belong together: one of them is not set")
	}
	return settings.FaultList(faults)
}

// token returns the server's token from a file, else from NATS_TOKEN. A secret is never
// a flag.
func (d *Dialer) token(s *settings.Connection) (string, error) {
	if s.TokenFile == "" {
		return d.Env["NATS_TOKEN"], nil
	}
	text, err := os.ReadFile(s.TokenFile)
	if err != nil {
		return "", exit.Usagef("--token-file%s: %w", d.Bind.FromOf("token-file"), err)
	}
	return strings.TrimSpace(string(text)), nil
}

// Explain adds advice to the error of a failed connection.
func (d *Dialer) Explain(t Target, err error) error {
	switch {
	case errors.Is(err, jetstream.ErrDenied), errors.Is(err, jetstream.ErrRefused), errors.Is(err, jetstream.ErrInsecure):
		return exit.Infrastructuref("NATS at %s: %w\n%s", t.Describe(), err, t.refusedAdvice(err))
	case errors.Is(err, jetstream.ErrUnreachable), errors.Is(err, context.DeadlineExceeded):
		return exit.Infrastructuref("NATS at %s cannot be reached: %w\nis a server running there? --server names another%s",
			t.Describe(), err, embedHint(d.Program))
	}
	return exit.Infrastructuref("NATS at %s: %w", t.Describe(), err)
}

// Held returns the server of a process of this user that holds a store.
func Held(h store.Holder) Target {
	t := Target{URL: h.URL}
	if h.Token != "" {
		t.Options = append(t.Options, nats.Token(h.Token))
	}
	if pin, ok := parsePin(h.Pin); ok {
		t.Options = append(t.Options, pin.option)
	}
	return t
}

func embedHint(program string) string {
	if program == "orchestrator" {
		return "; --server embedded needs none"
	}
	return ""
}

// addressFault returns the fault in the addresses of servers, or "". It removes the
// passwords from the addresses that it shows.
func addressFault(servers string) string {
	if servers == "" || servers == settings.Embedded {
		return ""
	}
	for server := range strings.SplitSeq(servers, ",") {
		server = strings.TrimSpace(server)
		if !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		u, err := url.Parse(server)
		if err != nil || u.Hostname() == "" {
			return redact.URLs(server) + " is no address of a server"
		}
		if n, err := strconv.ParseUint(cmp.Or(u.Port(), "0"), 10, 16); err != nil || n == 0 && u.Port() != "" {
			return redact.URLs(server) + " has an invalid port"
		}
	}
	return ""
}
