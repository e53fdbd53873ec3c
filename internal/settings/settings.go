package settings

import (
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Settings are the flags that every command has.
type Settings struct {
	config   string
	Output   string // "" = the flag is not set
	Progress string
	Connection
}

// Connection is the address of NATS and our identity there.
type Connection struct {
	Server         string // "" = none, "embedded" = requires a server inside this process
	Creds          string
	NKey           string
	TLSCA          string
	TLSCert        string
	TLSKey         string
	Context        string
	TokenFile      string
	InboxPrefix    string
	TLSPin         string
	Replicas       int           // of the streams and buckets that we create on a server elsewhere
	ConnectTimeout time.Duration // to connect; 0 = try for ever
}

// Embedded is the name of a server inside this process.
const Embedded = "embedded"

// Define defines the flags of a program.
func (s *Settings) Define(fs *pflag.FlagSet, program string) {
	timeout, never := 10*time.Second, ""
	if program == "worker" {
		timeout, never = 0, " (default: never)"
	}
	TextFlag(fs, &s.config, "config", "", "FILE", "", "read settings from this YAML file, with flags as keys (default "+program+".yaml in the user's configuration directory)")
	TextFlag(fs, &s.Output, "output", "o", "FORMAT", "", "what to write to stdout: table, json, yaml or name")
	TextFlag(fs, &s.Progress, "progress", "", "FORMAT", "auto", "what to write to stderr: tty (a live view), plain (every line as it comes), json, quiet, or auto: tty on a terminal, plain elsewhere; in GitHub Actions, GitLab, Azure and TeamCity plain with the output of each module folded")
	TextFlag(fs, &s.Server, "server", "s", "URL", "", "the NATS server, or several separated by commas; \"embedded\" for one inside the process [$NATS_URL]")
	TextFlag(fs, &s.Creds, "creds", "", "FILE", "", "a NATS user's credentials file [$NATS_CREDS]")
	TextFlag(fs, &s.NKey, "nkey", "", "FILE", "", "a NATS user's nkey seed file [$NATS_NKEY]")
	TextFlag(fs, &s.TLSCA, "tlsca", "", "FILE", "", "the certificate authority of the server [$NATS_CA]")
	TextFlag(fs, &s.TLSCert, "tlscert", "", "FILE", "", "our TLS certificate [$NATS_CERT]")
	TextFlag(fs, &s.TLSKey, "tlskey", "", "FILE", "", "the key of our TLS certificate [$NATS_KEY]")
	TextFlag(fs, &s.TLSPin, "tls-pin", "", "SHA256", "", "accept the server that has this certificate, or this public key, and no other: sha256:HEX of it [$NATS_TLS_PIN]")
	TextFlag(fs, &s.Context, "context", "", "NAME", "", "a context of the nats CLI [$NATS_CONTEXT]")
	TextFlag(fs, &s.InboxPrefix, "inbox-prefix", "", "PREFIX", "", "the prefix of inboxes, to which the user may subscribe (default: _INBOX_USER with the name of the user, if the credentials have one, else _INBOX) [$NATS_INBOX_PREFIX]")
	TextFlag(fs, &s.TokenFile, "token-file", "", "FILE", "", "a file that holds the server's token [the token itself: $NATS_TOKEN]")
	CountFlag(fs, &s.Replicas, "replicas", "", 1, 1, "on a cluster of NATS servers: copies of every stream and bucket that is created; with 3 they survive the loss of one server")
	TimeFlag(fs, &s.ConnectTimeout, "connect-timeout", timeout, time.Millisecond, 0, "give up after this time without a server"+never)
}

// natsVariable returns the nats CLI's variable for one of our flags, if it has one.
// NATS_TOKEN is not among them: a secret is never a flag (connect.go).
func natsVariable(flag string) string {
	switch flag {
	case "server":
		return "NATS_URL"
	case "creds", "nkey", "context":
		return "NATS_" + strings.ToUpper(flag)
	case "tls-pin":
		return "NATS_TLS_PIN"
	case "tlsca", "tlscert", "tlskey":
		return "NATS_" + strings.ToUpper(strings.TrimPrefix(flag, "tls"))
	}
	return ""
}
