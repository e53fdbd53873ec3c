package flags

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/modpipe/modpipe/internal/secrets"
	"github.com/modpipe/modpipe/internal/settings"
)

// Secrets are the flags that say which secrets a process has.
type Secrets struct {
	Secrets []string // NAME, or NAME=@FILE
	Dir     string
	Rules   string // of an orchestrator

	source *secrets.Source
}

// SecretNames are the names of these flags of an orchestrator.
func SecretNames() []string { return []string{"secret", "secrets-dir", "secret-rules"} }

// Define defines the flags of an orchestrator.
func (o *Secrets) Define(fs *pflag.FlagSet) {
	o.DefineWorker(fs)
	settings.TextFlag(fs, &o.Rules, "secret-rules", "", "FILE", "", "give secrets only to the pipelines, modules and approved files that this file names")
}

// DefineWorker defines the flags of a worker.
func (o *Secrets) DefineWorker(fs *pflag.FlagSet) {
	settings.ListFlag(fs, &o.Secrets, "secret", "NAME[=@FILE]", false, "a secret for modules: the variable NAME of this process, or the content of FILE (repeatable)")
	settings.TextFlag(fs, &o.Dir, "secrets-dir", "", "DIR", "", "secrets for modules: a directory with a file for each, which is read when a module starts")
}

// Faults reads the configuration, and returns its faults. path makes a path of the
// user absolute, and env is the environment.
func (o *Secrets) Faults(path func(string) string, env map[string]string) (faults []string) {
	cfg := secrets.Config{Lookup: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
	for _, s := range o.Secrets {
		if name, file, ok := strings.Cut(s, "=@"); ok {
			s = name + "=@" + path(file)
		}
		cfg.Secrets = append(cfg.Secrets, s)
	}
	if o.Dir != "" {
		cfg.Dir = path(o.Dir)
	}
	if o.Rules != "" {
		cfg.Rules = path(o.Rules)
	}
	var err error
	if o.source, err = secrets.New(cfg); err == nil {
		return nil
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		faults = append(faults, "--"+line)
	}
	return faults
}

// Source has the secrets, after Faults has returned none.
func (o *Secrets) Source() *secrets.Source { return o.source }
