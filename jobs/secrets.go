package jobs

import (
	"slices"

	"github.com/modpipe/modpipe/pipeline"
)

// Released says that the orchestrator gives an attempt secrets, or that its worker
// takes them from its own. It is recorded before any value is sent.
type Released struct {
	Module  ModuleID `msgpack:"token"`
	Attempt Attempt  `msgpack:"attempt"`
	Worker  string   `msgpack:"worker"`
	Nonce   string   `msgpack:"nonce"` // of the claim
	Names   []string `msgpack:"names"` // sorted
}

// SealedSecrets brings an attempt its secrets, sealed to the key of its claim, or
// says why they do not come yet. It goes over core NATS, signed with the key of
// the attempt, is repeated until the worker confirms it, and is never stored.
type SealedSecrets struct {
	Run     RunID    `msgpack:"run"`
	Module  ModuleID `msgpack:"token"`
	Attempt Attempt  `msgpack:"attempt"`
	Nonce   string   `msgpack:"nonce"`           // of the claim
	Sealed  []byte   `msgpack:"sealed"`          // the values by name; empty with Lacks
	Lacks   string   `msgpack:"lacks,omitempty"` // in words
}

// Delivered reports whether an orchestrator must send secrets to a worker that runs a
// module with these.
func Delivered(secrets []pipeline.Secret) bool {
	return slices.ContainsFunc(secrets, func(s pipeline.Secret) bool { return !s.FromWorker })
}

// SecretNames are the names of secrets, sorted, each once.
func SecretNames(secrets []pipeline.Secret) []string {
	names := make([]string, 0, len(secrets))
	for _, s := range secrets {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// secrets reports whether modules of the run have secrets.
func (s *Spec) secrets() bool {
	return s.Pipeline != nil && slices.ContainsFunc(s.Pipeline.Modules, func(m *pipeline.Module) bool { return m != nil && len(m.Secrets)+len(m.Requires.Env) > 0 })
}
