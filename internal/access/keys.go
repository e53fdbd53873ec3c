package access

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/jobs"
)

// KeyFile is the default file of the signing key of this user.
func (o *Opener) KeyFile() string { return filepath.Join(store.StateDir(o.NATS.Env), signing.FileName) }

// unsigned is set by Unsigned.
var unsigned atomic.Bool

// Unsigned makes all sessions of this process sign and verify nothing. It is for the
// benchmark that measures what signatures cost.
func Unsigned() { unsigned.Store(true) }

// LoadKeys loads the signing keys of a program that decides for runs: the named files,
// or else the default one, which it creates. path makes the name of a file absolute.
func (o *Opener) LoadKeys(path func(string) string) (err error) {
	if unsigned.Load() {
		return nil
	}
	files := make([]string, len(o.KeyFiles))
	for i, file := range o.KeyFiles {
		files[i] = path(file)
	}
	if len(files) == 0 {
		files = []string{o.KeyFile()}
		if err := store.PrepareState(filepath.Dir(files[0])); err != nil {
			return err
		}
		if err := signing.Ensure(files[0]); err != nil {
			return exit.Infrastructuref("%w", err)
		}
	}
	if o.keys, err = signing.Load(files...); err != nil {
		return exit.Usagef("%w", err)
	}
	return nil
}

// withKeys gives a connection the signing keys of this program. A program that reads
// has the keys of its user, if there are any: it shows only what it can verify.
func (o *Opener) withKeys(c *broker.Conn) *broker.Conn {
	keys := o.keys
	if keys == nil && !unsigned.Load() && o.NATS.Program != "worker" {
		var err error
		if keys, err = signing.Load(o.KeyFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			o.Log().Warn("records of runs are shown as they are, without verifying them", "error", err)
		}
	}
	return c.WithKeys(keys)
}

// ExplainKey turns a missing signing key of a run into an error that tells the user
// which file to copy. Other errors stay as they are.
func (o *Opener) ExplainKey(run jobs.RunID, err error) error {
	missing, ok := errors.AsType[*signing.MissingError](err)
	if !ok {
		return err
	}
	if missing.Key == "" {
		return exit.NotFoundf("%w", err)
	}
	have := o.KeyFile()
	if len(o.KeyFiles) > 0 {
		have = strings.Join(o.KeyFiles, ", ")
	}
	return exit.NotFoundf("run %s is signed with the key %s of orchestrator %s, and %s holds another one.\n"+
		"Copy the key file of that orchestrator (the file of its --signing-key, by default $XDG_STATE_HOME/modpipe/%s or ~/.local/state/modpipe/%s of its user) to this machine, with mode 0600, and repeat with\n"+
		"`orchestrator resume %s --signing-key FILE`", run, missing.Key, missing.By, have, signing.FileName, signing.FileName, run)
}
