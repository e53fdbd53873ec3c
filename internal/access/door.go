package access

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/internal/natsembed"
	"github.com/modpipe/modpipe/internal/roles"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/store"
)

// ListenOptions are the flags for joining an embedded server.
type ListenOptions struct {
	Listen  string
	NoToken bool
	// Namespace is that of the files of runs, to which workers that join may write; "" =
	// jobs.DefaultNamespace.
	Namespace string
	NoTLS     bool
}

// Define defines the flags. address is the default of --listen; usage is its
// help.
func (o *ListenOptions) Define(fs *pflag.FlagSet, address, usage string) {
	settings.TextFlag(fs, &o.Listen, "listen", "", "HOST:PORT", address, usage)
	settings.SwitchFlag(fs, &o.NoToken, "no-token", "", "let everyone join who reaches that address, without the token that is otherwise created and required")
	settings.SwitchFlag(fs, &o.NoTLS, "no-tls", "", "beyond this machine: without the TLS that is otherwise used there")
}

// Faults returns the faults in the flags' values.
func (o *ListenOptions) Faults(bind *settings.Binder) (faults []string) {
	if o.Listen == "" {
		return nil
	}
	if _, err := CheckListen(o.Listen); err != nil {
		faults = append(faults, fmt.Sprintf("--listen%s: %v", bind.FromOf("listen"), err))
	}
	return faults
}

// NeedsListen returns the faults of --no-token and --no-tls on a command line without
// a server that listens.
func (o *ListenOptions) NeedsListen(bind *settings.Binder) (faults []string) {
	for _, flag := range []string{"no-token", "no-tls"} {
		if o.Listen == "" && bind.Origin[flag] == "--"+flag {
			faults = append(faults, fmt.Sprintf("--%s is about the server of --listen, and that is not set", flag))
		}
	}
	return faults
}

// Door is the access of other programs to an embedded server that listens.
type Door struct {
	address   string // HOST:PORT of the flag
	beyond    bool   // other machines can reach it
	Token     string // "" = the server asks for no token
	TokenFile string
	Guest     *natsembed.Guest // a worker; nil = the server asks for no token
	GuestFile string           // with its token
	Cert      *tls.Certificate // nil = no TLS
	Pin       string
	state     string // directory in which other programs of this user find it
}

// NewDoor creates or reads the token and the certificate of a store's server. dir is
// the store of the workspace. A run with a temporary store uses the token of dir, too.
func NewDoor(st *store.Dir, o ListenOptions, state string) (*Door, error) {
	beyond, err := CheckListen(o.Listen)
	if err != nil {
		return nil, err
	}
	d := &Door{address: o.Listen, beyond: beyond, state: state}
	if !o.NoToken {
		if d.Token, d.TokenFile, err = st.Token(); err != nil {
			return nil, err
		}
		allowed := roles.Of(roles.Worker, roles.Options{Group: roles.AnyGroup, Namespace: o.Namespace})
		d.Guest = &natsembed.Guest{Publish: allowed.Publish, Subscribe: allowed.Subscribe}
		if d.Guest.Token, d.GuestFile, err = st.WorkerToken(); err != nil {
			return nil, err
		}
	}
	if beyond && !o.NoTLS {
		cert, pin, err := st.Certificate()
		if err != nil {
			return nil, err
		}
		d.Cert, d.Pin = &cert, pin
	}
	return d, nil
}

// announce writes the file with which other programs of this user join. Without it
// they need flags, like the programs of other users.
func (d *Door) announce(ctx context.Context, address string) (*store.ListenFile, error) {
	l := store.Listening{Address: address, Pin: d.Pin}
	if d.TokenFile != "" {
		l.TokenFiles = []string{d.TokenFile, d.GuestFile}
	}
	return store.Announce(ctx, d.state, l)
}

// knownPort reports whether the flag names the port.
func (d *Door) knownPort() bool {
	_, port, err := net.SplitHostPort(d.address)
	return err == nil && port != "0" && port != ""
}

// Warnings returns a text for each missing protection.
func (d *Door) Warnings() (texts []string) {
	if d.Token == "" {
		who := "every user of this machine"
		if d.beyond {
			who = "everyone who reaches this machine"
		}
		texts = append(texts, "the NATS server asks for no token (--no-token): "+who+" can run commands as this user")
	}
	if d.beyond && d.Cert == nil {
		what := ""
		if d.Token != "" {
			what = ", the token too"
		}
		texts = append(texts, "the NATS server speaks no TLS (--no-tls): everyone who listens to the network can read it"+what)
	}
	return texts
}

// Instructions returns how workers join: a line of text, then the command alone.
func (d *Door) Instructions(ctx context.Context, program, url string) []string {
	texts := []string{"workers join with: " + d.JoinCommand(ctx, program, url)}
	if d.TokenFile != "" {
		texts = append(texts, "on another machine, --token-file names a copy of that file, or NATS_TOKEN has its content")
	}
	return texts
}

// JoinCommand returns the command that starts a worker. It works on this machine as it
// is. It names the token's file: the token itself would appear in logs and in lists of
// processes.
func (d *Door) JoinCommand(ctx context.Context, program, url string) string {
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(strings.TrimPrefix(url, "nats://"), "tls://"))
	host, _, _ := net.SplitHostPort(d.address)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = ReachableName(ctx)
	}
	scheme := "nats://"
	if d.Cert != nil {
		scheme = "tls://"
	}
	words := []string{program, "--server", scheme + net.JoinHostPort(host, port)}
	if d.Pin != "" {
		words = append(words, "--tls-pin", d.Pin)
	}
	if d.TokenFile != "" {
		words = append(words, "--token-file", ShellWord(d.GuestFile))
	}
	return strings.Join(words, " ")
}

// resolvePatience bounds the lookup of this machine's name.
const resolvePatience = 2 * time.Second

// ReachableName returns the name of this machine for other machines: its host name if
// that resolves here, else an address.
func ReachableName(ctx context.Context) string {
	ctx, stop := context.WithTimeout(ctx, resolvePatience)
	defer stop()
	name := ident.Host()
	if addresses, err := net.DefaultResolver.LookupHost(ctx, name); err == nil && len(addresses) > 0 {
		return name
	}
	addresses, _ := net.InterfaceAddrs() // without addresses, only this machine can connect
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}

// ShellWord quotes a word for a shell if necessary.
func ShellWord(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,=", r)
	}
	if word != "" && !slices.ContainsFunc([]rune(word), func(r rune) bool { return !plain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// StoreOfSecrets returns the store with the token and the certificate of the server.
// It is the one of the workspace if that has them, even when another run holds it.
func StoreOfSecrets(st *store.Dir, dir string) *store.Dir {
	if st.Temporary && store.OwnAndClosed(filepath.Join(dir, "token")) {
		return &store.Dir{Path: dir}
	}
	return st
}
