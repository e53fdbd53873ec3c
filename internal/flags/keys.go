package flags

import (
	"github.com/spf13/pflag"

	"github.com/modpipe/modpipe/internal/settings"
)

// SigningKey defines --signing-key, of commands that decide for runs.
func SigningKey(fs *pflag.FlagSet, to *[]string) {
	settings.ListFlag(fs, to, "signing-key", "FILE", false, "sign runs with the key in this file, which all orchestrators of a NATS share; further ones only verify (repeatable; default: signing-key in the user's state directory, created when it does not exist)")
}
