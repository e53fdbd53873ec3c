package modpipe

import (
	"slices"

	"github.com/modpipe/modpipe/pipeline"
)

// Secrets gives the module secrets, by name. A function reads them with Secret, and a
// command finds each in the variable of its name. The run does not begin unless its
// orchestrator has them (--secret, --secrets-dir). Several add up.
func Secrets(names ...string) Option {
	return option(func(m *module) {
		for _, name := range names {
			SecretTerms{Name: name}.apply(m)
		}
	})
}

// SecretTerms gives the module one secret under terms. Several add up; of two with the
// same variable the later one counts.
type SecretTerms struct {
	Name       string // by which Secret returns it, and orchestrators and workers have it
	Env        string // the variable in which a command finds it; "" = Name
	File       bool   // the variable of a command holds the path of a file with the value
	FromWorker bool   // only workers that have it themselves run the module (worker --secret, --secrets-dir)
	AllowShort bool   // it may have fewer than 8 characters, and is not masked then
}

func (s SecretTerms) apply(m *module) {
	env := s.Env
	if env == "" {
		env = s.Name
	}
	n := &m.node
	n.Secrets = slices.DeleteFunc(n.Secrets, func(other pipeline.Secret) bool { return other.Env == env })
	n.Secrets = append(n.Secrets, pipeline.Secret{Env: env, Name: s.Name, File: s.File, FromWorker: s.FromWorker, AllowShort: s.AllowShort})
}
