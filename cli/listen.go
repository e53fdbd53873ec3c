package cli

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
)

// listenOptions are the flags about joining an embedded server.
type listenOptions struct {
	listen  string
	noToken bool
	noTLS   bool
}

func (o *listenOptions) define(fs *pflag.FlagSet, address, usage string) {
	textFlag(fs, &o.listen, "listen", "", "HOST:PORT", address, usage)
	switchFlag(fs, &o.noToken, "no-token", "", "let everyone who reaches that address join, without the token that is else made and required")
	switchFlag(fs, &o.noTLS, "no-tls", "", "beyond this machine: leave out the TLS that is else used there")
}

func (o *listenOptions) faults(a *app) (faults []string) {
	if o.listen == "" {
		return nil
	}
	if _, err := checkListen(o.listen); err != nil {
		faults = append(faults, fmt.Sprintf("--listen%s: %v", a.bind.fromOf("listen"), err))
	}
	return faults
}

// needsListen are the faults of --no-token and --no-tls on a command line that
// has no server to open.
func (o *listenOptions) needsListen(a *app) (faults []string) {
	for _, flag := range []string{"no-token", "no-tls"} {
		if o.listen == "" && a.bind.origin[flag] == "--"+flag {
			faults = append(faults, fmt.Sprintf("--%s is about the server of --listen, and that is not set", flag))
		}
	}
	return faults
}

// door is how others get into an embedded server that listens.
type door struct {
	address   string // HOST:PORT that was asked for
	beyond    bool   // it is not of this machine alone
	token     string // "" = none is asked for
	tokenFile string
	cert      *tls.Certificate // nil = no TLS
	pin       string
	state     string // directory in which other programs of this user look for it
}

// doorOf makes, or reads, what the server of a store is guarded by. dir is the
// store of the workspace: beside a run that holds it, the token is still its.
func (a *app) doorOf(st *store, o listenOptions) (*door, error) {
	beyond, err := checkListen(o.listen)
	if err != nil {
		return nil, err
	}
	d := &door{address: o.listen, beyond: beyond, state: stateDir(a.env)}
	if !o.noToken {
		if d.token, d.tokenFile, err = st.token(); err != nil {
			return nil, err
		}
	}
	if beyond && !o.noTLS {
		cert, pin, err := st.certificate()
		if err != nil {
			return nil, err
		}
		d.cert, d.pin = &cert, pin
	}
	return d, nil
}

// announce tells the other programs of this user how to get in. Without the
// file they need flags, as those of anyone else.
func (d *door) announce(ctx context.Context, address string) (*listenFile, error) {
	l := listening{Address: address, Pin: d.pin}
	if d.tokenFile != "" {
		l.TokenFiles = []string{d.tokenFile}
	}
	return writeListening(ctx, d.state, l)
}

// knownPort reports whether the port is that which was asked for.
func (d *door) knownPort() bool {
	_, port, err := net.SplitHostPort(d.address)
	return err == nil && port != "0" && port != ""
}

// warnings are what is open.
func (d *door) warnings() (texts []string) {
	if d.token == "" {
		who := "every user of this machine"
		if d.beyond {
			who = "everyone who reaches this machine"
		}
		texts = append(texts, "the NATS server asks for no token (--no-token): "+who+" can run commands as this user")
	}
	if d.beyond && d.cert == nil {
		what := ""
		if d.token != "" {
			what = ", the token too"
		}
		texts = append(texts, "the NATS server speaks no TLS (--no-tls): who listens to the network reads all that is sent"+what)
	}
	return texts
}

// instructions say how workers join: a line of text, then the command alone.
func (d *door) instructions(ctx context.Context, program, url string) []string {
	texts := []string{"workers join with: " + d.joinCommand(ctx, program, url)}
	if d.tokenFile != "" {
		texts = append(texts, "on another machine, --token-file names a copy of that file, or NATS_TOKEN holds what is in it")
	}
	return texts
}

// joinCommand starts a worker that joins, on this machine as it is. It names
// the token's file: the token itself would be in logs and lists of processes.
func (d *door) joinCommand(ctx context.Context, program, url string) string {
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(strings.TrimPrefix(url, "nats://"), "tls://"))
	host, _, _ := net.SplitHostPort(d.address)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = reachableName(ctx)
	}
	scheme := "nats://"
	if d.cert != nil {
		scheme = "tls://"
	}
	words := []string{program, "--server", scheme + net.JoinHostPort(host, port)}
	if d.pin != "" {
		words = append(words, "--tls-pin", d.pin)
	}
	if d.tokenFile != "" {
		words = append(words, "--token-file", shellWord(d.tokenFile))
	}
	return strings.Join(words, " ")
}

// resolvePatience bounds the question whether the name of this machine is known.
const resolvePatience = 2 * time.Second

// reachableName is what other machines may call this one: its name if that is
// known here, else an address.
func reachableName(ctx context.Context) string {
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

// workerProgram is the command of the worker that belongs to this program.
func (a *app) workerProgram() string {
	if a.own != nil {
		return shellWord(a.own.name) + " worker"
	}
	return "worker"
}

// shellWord quotes a word for a shell where it must be.
func shellWord(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,=", r)
	}
	if word != "" && !slices.ContainsFunc([]rune(word), func(r rune) bool { return !plain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// storeOfSecrets is the store whose token and certificate guard the server: of
// the workspace, also beside a run that holds it, if they are there.
func storeOfSecrets(st *store, dir string) *store {
	if st.temporary && ownAndClosed(filepath.Join(dir, "token")) {
		return &store{dir: dir}
	}
	return st
}
