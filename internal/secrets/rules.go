package secrets

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/modpipe/modpipe/pipeline"
)

// others names the rules of every secret that the file does not name.
const others = "*"

// mostRules is how many bytes a file of rules may have.
const mostRules = 1 << 20

// rules are those of each secret: one of them must hold.
type rules map[string][]rule

// rule holds for a module when each of its lists that is given has it. In names *
// stands for any text.
type rule struct {
	Pipelines words `yaml:"pipelines"`
	Modules   words `yaml:"modules"` // or families
	Digests   words `yaml:"digests"` // SHA-256 of the pipeline file, in hex
}

// words are a list, or one word.
type words []string

// UnmarshalYAML implements yaml.Unmarshaler.
func (w *words) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*w = words{n.Value}
		return nil
	}
	return n.Decode((*[]string)(w))
}

// readRules reads and checks a file of rules.
func readRules(path string) (rules, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > mostRules {
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", path, mostRules)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s: want the names of secrets, each with its rules: NAME: {pipelines: [P], modules: [M]}", path)
	}
	all := rules{}
	var faults []error
	top := doc.Content[0]
	for i := 0; i+1 < len(top.Content); i += 2 {
		name, value := top.Content[i], top.Content[i+1]
		own, err := rulesOf(name.Value, value)
		if _, twice := all[name.Value]; twice {
			err = errors.New("it is named twice")
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s:%d:%d: %s: %w", path, name.Line, name.Column, name.Value, err))
		}
		all[name.Value] = own
	}
	return all, errors.Join(faults...)
}

func rulesOf(name string, value *yaml.Node) (own []rule, err error) {
	if name != others {
		if err := pipeline.ValidSecret(name); err != nil {
			return nil, err
		}
	}
	list := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		list = value.Content
	}
	for _, n := range list {
		r, err := ruleOf(n)
		if err != nil {
			return nil, err
		}
		own = append(own, r)
	}
	if len(own) == 0 {
		return nil, errors.New("it has no rule: leave the secret away from this process if no run may have it")
	}
	return own, nil
}

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

func ruleOf(n *yaml.Node) (r rule, err error) {
	if n.Kind != yaml.MappingNode {
		return r, errors.New("a rule has pipelines, modules or digests")
	}
	for i := 0; i < len(n.Content); i += 2 {
		if key := n.Content[i].Value; key != "pipelines" && key != "modules" && key != "digests" {
			return r, fmt.Errorf("unknown key %q: a rule has pipelines, modules or digests", key)
		}
	}
	if err := n.Decode(&r); err != nil {
		return r, err
	}
	for key, list := range map[string]*words{"pipelines": &r.Pipelines, "modules": &r.Modules, "digests": &r.Digests} {
		if *list != nil && len(*list) == 0 || slices.Contains(*list, "") {
			return r, fmt.Errorf("%s has an empty list or word: leave it out, or name what may have the secret", key)
		}
	}
	if r.Pipelines == nil && r.Modules == nil && r.Digests == nil {
		return r, errors.New("a rule has pipelines, modules or digests")
	}
	for i, d := range r.Digests {
		r.Digests[i] = strings.ToLower(strings.TrimPrefix(d, "sha256:"))
		if !digestForm.MatchString(r.Digests[i]) {
			return r, fmt.Errorf("%q is not the SHA-256 of a file in hex (sha256sum FILE)", d)
		}
	}
	return r, nil
}

// of are the rules of a secret; nil = it has none.
func (all rules) of(name string) []rule {
	if own, ok := all[name]; ok {
		return own
	}
	return all[others]
}

// matches reports whether a pattern with * has a name.
func (w words) matches(names ...string) bool {
	return slices.ContainsFunc(w, func(pattern string) bool {
		form := regexp.MustCompile("^(?s:" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + ")$")
		return slices.ContainsFunc(names, form.MatchString)
	})
}
