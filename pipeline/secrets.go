package pipeline

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Secret is a value that a module finds in a variable, and that is in no log,
// no definition and no store: the orchestrator of the run gives it to the
// worker when the module starts, or the worker has it.
type Secret struct {
	Env        string `msgpack:"env"`                                      // the variable that holds it, or the path of its file
	Name       string `msgpack:"name"`                                     // by which orchestrators and workers know it
	File       bool   `msgpack:"file,omitempty" json:",omitempty"`         // the variable holds the path of a file with the value
	FromWorker bool   `msgpack:"from_worker,omitempty" json:",omitempty"`  // the worker has it, and no other process learns it
	AllowShort bool   `msgpack:"allow_short,omitempty"  json:",omitempty"` // it may have fewer than ShortestSecret characters
}

// ShortestSecret is how many characters a secret has at least, unless it is
// declared to be short: a shorter value would be masked in ordinary text.
const ShortestSecret = 8

// maxSecrets is how many secrets a module may have: they travel in one message.
const maxSecrets = 100

const secretPattern = `^[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}$`

var secretRegexp = regexp.MustCompile(secretPattern)

// ValidSecret checks the name of a secret, which is that of a file where secrets
// are in a directory: letters, digits and _ . -, not . first, at most 253.
func ValidSecret(name string) error {
	if !secretRegexp.MatchString(name) {
		return fmt.Errorf("%q is not the name of a secret: letters, digits and _ . -, at most 253, not . or - first", name)
	}
	return nil
}

var secretTermsShape = object("a secret with terms",
	key("name", patterned("its name, where that is not the variable's", graph, secretPattern, ValidSecret)),
	key("file", boolean("the variable holds the path of a file with the value (false)")),
	key("from", enum("which process has it (orchestrator)", static, "orchestrator", "worker")),
	key("allow-short", boolean("it may have fewer than 8 characters, and is not masked then (false)")),
).replacing(map[string]string{
	"required": "a secret is always required: the run does not begin without it", "optional": "a secret is always required: the run does not begin without it",
	"value": "a file never contains the value: orchestrator run --secret NAME takes it from the environment", "env": "the key in front is the variable: {VARIABLE: {name: NAME}}",
})

var secretsShape = listOf("secrets that the module finds in its environment: NAME, or {VARIABLE: {name: NAME}}", union("a secret",
	patterned("its name, which is also that of the variable", static, envPattern, validEnv),
	&shape{
		form: mapForm, doc: "variable → secret", least: 1,
		keys: patterned("the variable", static, envPattern, validEnv), elem: secretTermsShape,
	},
))

// secrets decodes which secrets the module is given.
func (d *decoder) secrets(m *Module) {
	list := d.tree.get("secrets")
	if !d.ok(list) {
		return
	}
	for _, n := range list.elements() {
		if n.Kind != mapNode {
			d.secret(m, n, nil)
			continue
		}
		for i, k := range n.Keys {
			d.secret(m, k, n.Items[i])
		}
	}
	if len(m.Secrets) > maxSecrets {
		d.fault(list, "", "%s has %d secrets, more than %d", d.e.vocab.module, len(m.Secrets), maxSecrets)
	}
	m.Requires.Secrets = ofWorkers(m.Secrets)
}

// secret decodes one secret; terms is nil for a name alone.
func (d *decoder) secret(m *Module, at, terms *node) {
	if !d.ok(at) || at.Kind != scalarNode || terms != nil && (!d.ok(terms) || terms.Kind != mapNode) {
		return
	}
	s := Secret{
		Env: at.Value, Name: at.Value, File: d.flag(terms.get("file"), false),
		FromWorker: d.literal(terms.get("from")) == "worker", AllowShort: d.flag(terms.get("allow-short"), false),
	}
	f, _ := secretTermsShape.field("name")
	name, known := d.word(terms.get("name"), f.shape, "name")
	if known {
		s.Name = name
	}
	if env := d.tree.get("env"); env != nil && env.Kind == mapNode && env.index(s.Env) >= 0 {
		d.fault(at, "", "%s is set in env too", s.Env)
	}
	for _, other := range m.Secrets {
		if other.Env == s.Env {
			d.fault(at, "", "two secrets have the variable %s", s.Env)
		}
	}
	if known || terms.get("name") == nil {
		m.Secrets = append(m.Secrets, s)
	}
}

// knownSecrets refuses names that are known only when the axes of a family are:
// what a module returns must not choose which secret is released.
func (d *decoder) knownSecrets() {
	for _, n := range d.tree.get("secrets").elements() {
		for _, terms := range n.Items {
			name := terms.get("name")
			if !d.ok(name) || name.Kind != scalarNode || !hasExpression(name.Value) {
				continue
			}
			if _, known := d.textNode(name, d.e, "name", graph).plain(); !known {
				d.fault(name, "name it, or take the axis from a list that is in the file",
					"the name of a secret must be known before the run: this one depends on an axis that is known only later")
			}
		}
	}
}

// ofWorkers are the names of the secrets that a worker must have, sorted.
func ofWorkers(secrets []Secret) []string {
	var names []string
	for _, s := range secrets {
		if s.FromWorker {
			names = append(names, s.Name)
		}
	}
	return sortedSet(names)
}

// String is what a cached result depends on of a secret: everything but the value.
func (s Secret) String() string {
	var terms []string
	if s.File {
		terms = append(terms, "file")
	}
	if s.FromWorker {
		terms = append(terms, "from worker")
	}
	if len(terms) > 0 {
		return s.Env + "=" + s.Name + " (" + strings.Join(terms, ", ") + ")"
	}
	return s.Env + "=" + s.Name
}

// secrets checks the secrets of a program's module as the decoder of a file does.
func (a *assembler) secrets(i int, m *Module) {
	if len(m.Secrets) > maxSecrets {
		a.fault(i, "", "%s has %d secrets, more than %d", m.Name, len(m.Secrets), maxSecrets)
	}
	for j, s := range m.Secrets {
		a.refuse(i, "secret", validEnv(s.Env))
		a.refuse(i, "secret", ValidSecret(s.Name))
		if m.Command != nil && slices.ContainsFunc(m.Command.Env, func(v Var) bool { return v.Name == s.Env }) {
			a.fault(i, "", "%s: %s is a secret, and is set in the environment too", m.Name, s.Env)
		}
		if slices.ContainsFunc(m.Secrets[:j], func(other Secret) bool { return other.Env == s.Env }) {
			a.fault(i, "", "%s: two secrets have the variable %s", m.Name, s.Env)
		}
	}
	m.Requires.Secrets = ofWorkers(m.Secrets)
}
