package jobs

import (
	"slices"
	"testing"

	"github.com/modpipe/modpipe/pipeline"
)

// An older worker would run a module without its secrets, and an older
// orchestrator would never send them.
func TestMessagesAboutSecretsAreRefusedByOlderPrograms(t *testing.T) {
	spec := func(secrets ...pipeline.Secret) Record {
		return Record{Spec: &Spec{Pipeline: &pipeline.Pipeline{Modules: []*pipeline.Module{{Name: "m", Secrets: secrets}}}}}
	}
	one := []pipeline.Secret{{Env: "A", Name: "A"}}
	for name, got := range map[string]byte{
		"a job":           versionOf(&Job{Secrets: one}),
		"a variable":      versionOf(&Job{Command: &CommandJob{RequiredEnv: []string{"CI"}}}),
		"a specification": versionOf(new(spec(one...))),
		"a lane":          versionOf(&LaneSet{Requires: pipeline.Requirements{Secrets: []string{"A"}}}),
		"a release":       versionOf(&Record{Released: &Released{}}),
		"the secrets":     versionOf(&SealedSecrets{}),
	} {
		if got != withKeys {
			t.Errorf("%s has version %d, want %d", name, got, withKeys)
		}
	}
	if got := versionOf(new(spec())); got != first {
		t.Errorf("a specification without secrets has version %d", got)
	}
}

func TestSecretNames(t *testing.T) {
	secrets := []pipeline.Secret{{Env: "B", Name: "x", FromWorker: true}, {Env: "C", Name: "a", FromWorker: true}, {Env: "D", Name: "x", FromWorker: true}}
	if got := SecretNames(secrets); !slices.Equal(got, []string{"a", "x"}) {
		t.Errorf("%v", got)
	}
	if Delivered(secrets) || !Delivered(append(secrets, pipeline.Secret{Env: "E", Name: "e"})) {
		t.Error("secrets of the worker are not delivered, others are")
	}
}
