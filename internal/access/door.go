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
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/store"
)

// ListenOptions are the flags about joining an embedded server.
type ListenOptions struct {
	Listen  string
	NoToken bool
	NoTLS   bool
}

// Define defines the flags. address is the default of --listen; usage is its
// help.
func (o *ListenOptions) Define(fs *pflag.FlagSet, address, usage string) {
	settings.TextFlag(fs, &o.Listen, "listen", "", "HOST:PORT", address, usage)
	settings.SwitchFlag(fs, &o.NoToken, "no-token", "", "let everyone who reaches that address join, without the token that is else made and required")
	settings.SwitchFlag(fs, &o.NoTLS, "no-tls", "", "beyond this machine: leave out the TLS that is else used there")
}

// Faults are what is wrong with the flags' values.
func (o *ListenOptions) Faults(bind *settings.Binder) (faults []string) {
	if o.Listen == "" {
		return nil
	}
	if _, err := CheckListen(o.Listen); err != nil {
		faults = append(faults, fmt.Sprintf("--listen%s: %v", bind.FromOf("listen"), err))
	}
	return faults
}

// NeedsListen are the faults of --no-token and --no-tls on a command line that
// has no server to open.
func (o *ListenOptions) NeedsListen(bind *settings.Binder) (faults []string) {
	for _, flag := range []string{"no-token", "no-tls"} {
		if o.Listen == "" && bind.Origin[flag] == "--"+flag {
			faults = append(faults, fmt.Sprintf("--%s is about the server of --listen, and that is not set", flag))
		}
	}
	return faults
}

// Door is how others get into an embedded server that listens.
type Door struct {
	address   string // HOST:PORT that was asked for
	beyond    bool   // it is not of this machine alone
	Token     string // "" = none is asked for
	TokenFile string
	Cert      *tls.Certificate // nil = no TLS
	Pin       string
	state     string // directory in which other programs of this user look for it
}

// NewDoor makes, or reads, what the server of a store is guarded by. dir is the
// store of the workspace: beside a run that holds it, the token is still its.
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

// announce tells the other programs of this user how to get in. Without the
// file they need flags, as those of anyone else.
func (d *Door) announce(ctx context.Context, address string) (*store.ListenFile, error) {
	l := store.Listening{Address: address, Pin: d.Pin}
	if d.TokenFile != "" {
		l.TokenFiles = []string{d.TokenFile}
	}
	return store.Announce(ctx, d.state, l)
}

// knownPort reports whether the port is that which was asked for.
func (d *Door) knownPort() bool {
	_, port, err := net.SplitHostPort(d.address)
	return err == nil && port != "0" && port != ""
}

// Warnings are what is open.
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
		texts = append(texts, "the NATS server speaks no TLS (--no-tls): who listens to the network reads all that is sent"+what)
	}
	return texts
}

// Instructions say how workers join: a line of text, then the command alone.
func (d *Door) Instructions(ctx context.Context, program, url string) []string {
	texts := []string{"workers join with: " + d.JoinCommand(ctx, program, url)}
	if d.TokenFile != "" {
		texts = append(texts, "on another machine, --token-file names a copy of that file, or NATS_TOKEN holds what is in it")
	}
	return texts
}

// JoinCommand starts a worker that joins, on this machine as it is. It names
// the token's file: the token itself would be in logs and lists of processes.
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
		words = append(words, "--token-file", ShellWord(d.TokenFile))
	}
	return strings.Join(words, " ")
}

// resolvePatience bounds the question whether the name of this machine is known.
const resolvePatience = 2 * time.Second

// ReachableName is what other machines may call this one: its name if that is
// known here, else an address.
func ReachableName(ctx context.Context) string {
	ctx, stop := context.WithTimeout(ctx, resolvePatience)
	defer stop()
	name := ident.Host()
	if addresses, err := net.DefaultResolver.LookupHost(ctx, name); err == nil && len(addresses) > 0 {
		return name
	}
	addresses, _ := net.InterfaceAddrs() // without any, this machine alone is left
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}

// ShellWord quotes a word for a shell where it must be.
func ShellWord(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,=", r)
	}
	if word != "" && !slices.ContainsFunc([]rune(word), func(r rune) bool { return !plain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// StoreOfSecrets is the store whose token and certificate guard the server: of
// the workspace, also beside a run that holds it, if they are there.
func StoreOfSecrets(st *store.Dir, dir string) *store.Dir {
	if st.Temporary && store.OwnAndClosed(filepath.Join(dir, "token")) {
		return &store.Dir{Path: dir}
	}
	return st
}
