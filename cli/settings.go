package cli

import (
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// settings are the flags that every command has.
type settings struct {
	config   string
	output   string // "" = not asked for
	progress string
	connection
}

// connection says where NATS is and who we are there.
type connection struct {
	server    string // "" = none, "embedded" = insists on a server inside this process
	creds     string
	nkey      string
	tlsCA     string
	tlsCert   string
	tlsKey    string
	context   string
	tokenFile string
	tlsPin    string
	replicas  int           // of the streams and buckets that are made on a server elsewhere
	timeout   time.Duration // to connect; 0 = go on trying
}

// embedded is the server's name that stands for one inside this process.
const embedded = "embedded"

func (s *settings) define(fs *pflag.FlagSet, program string) {
	timeout, never := 10*time.Second, ""
	if program == "worker" {
		timeout, never = 0, " (default: never)"
	}
	textFlag(fs, &s.config, "config", "", "FILE", "", "read settings from this YAML file, with flags as keys (default "+program+".yaml in the user's configuration directory)")
	textFlag(fs, &s.output, "output", "o", "FORMAT", "", "what to write to stdout: table, json, yaml or name")
	textFlag(fs, &s.progress, "progress", "", "FORMAT", "auto", "what to write to stderr: tty (a live view), plain (every line as it comes), json, quiet, or auto: tty on a terminal, plain elsewhere; in GitHub Actions, GitLab, Azure and TeamCity plain with the output of each module folded")
	textFlag(fs, &s.server, "server", "s", "URL", "", "the NATS server, or several separated by commas; \"embedded\" for one inside the process [$NATS_URL]")
	textFlag(fs, &s.creds, "creds", "", "FILE", "", "a NATS user's credentials file [$NATS_CREDS]")
	textFlag(fs, &s.nkey, "nkey", "", "FILE", "", "a NATS user's nkey seed file [$NATS_NKEY]")
	textFlag(fs, &s.tlsCA, "tlsca", "", "FILE", "", "the certificate authority of the server [$NATS_CA]")
	textFlag(fs, &s.tlsCert, "tlscert", "", "FILE", "", "our TLS certificate [$NATS_CERT]")
	textFlag(fs, &s.tlsKey, "tlskey", "", "FILE", "", "the key of our TLS certificate [$NATS_KEY]")
	textFlag(fs, &s.tlsPin, "tls-pin", "", "SHA256", "", "accept the server that has this certificate, or this public key, and no other: sha256:HEX of it [$NATS_TLS_PIN]")
	textFlag(fs, &s.context, "context", "", "NAME", "", "a context of the nats CLI [$NATS_CONTEXT]")
	textFlag(fs, &s.tokenFile, "token-file", "", "FILE", "", "a file that holds the server's token [the token itself: $NATS_TOKEN]")
	countFlag(fs, &s.replicas, "replicas", "", 1, 1, "on a cluster of NATS servers: copies of every stream and bucket that is made; 3 survive the loss of any one server")
	timeFlag(fs, &s.timeout, "connect-timeout", timeout, time.Millisecond, 0, "give an unreachable server up after this time"+never)
}

// natsVariable is the nats CLI's name for a flag of ours, if it has one.
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
