package secrets

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// OfRun has the secrets that the modules of one run may have. It is safe for
// concurrent use.
type OfRun struct {
	source *Source
	spec   *jobs.Spec
	digest func() (string, error) // of the pipeline file that has made the run
}

// OfRun returns the secrets for a run. A nil source has none.
func (s *Source) OfRun(spec *jobs.Spec) *OfRun {
	return &OfRun{s, spec, sync.OnceValues(func() (string, error) { return approved(spec) })}
}

// Check returns all faults that keep modules of the run from having their secrets:
// secrets that are not here, values that cannot be taken, rules that deny them.
// Modules that do not run in this run count as little as the values of secrets that
// workers have.
func (r *OfRun) Check() error {
	kept := map[string]bool{}
	for _, k := range r.spec.Kept {
		kept[k.Module] = true
	}
	var faults []error
	for _, m := range r.spec.Pipeline.Modules {
		if len(m.Secrets) == 0 || m.Unselected || kept[m.Name] {
			continue
		}
		if _, err := r.Values(m); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// Sent reports whether an orchestrator has to send secrets to modules of the run.
func (r *OfRun) Sent() bool {
	return slices.ContainsFunc(r.spec.Pipeline.Modules, func(m *pipeline.Module) bool { return jobs.Delivered(m.Secrets) })
}

// Values reads the secrets of a module, by name, without those that its worker has.
// The error has a line for each that it may not have, or that is not here.
func (r *OfRun) Values(m *pipeline.Module) (map[string]string, error) {
	values := map[string]string{}
	var found []mask.Secret
	var faults []error
	for _, s := range m.Secrets {
		err := r.allows(s.Name, m)
		if err == nil && !s.FromWorker {
			if values[s.Name], err = r.source.Value(s.Name); err == nil {
				found = append(found, mask.Secret{Name: s.Name, Env: s.Env, File: s.File, AllowShort: s.AllowShort, Value: values[s.Name]})
				continue
			}
			if errors.Is(err, ErrUnknown) {
				err = errors.New("this orchestrator does not have it: give it by --secret or --secrets-dir")
			}
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("secret %s: %w", s.Name, err))
		}
	}
	faults = append(faults, Check(found))
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("%s: %s", m.Name, strings.ReplaceAll(err.Error(), "\n", "\n"+m.Name+": "))
	}
	return values, nil
}

// Check returns all faults of the values of an attempt.
func Check(found []mask.Secret) error {
	faults := []error{mask.Check(found)}
	for _, s := range found {
		if !s.File && strings.ContainsRune(s.Value, 0) {
			faults = append(faults, fmt.Errorf("secret %s has a NUL byte, which no variable can hold: write file: true", s.Name))
		}
	}
	return errors.Join(faults...)
}

// allows returns why the rules deny a secret to a module; nil when they do not.
func (r *OfRun) allows(name string, m *pipeline.Module) error {
	if r.source == nil || r.source.rules == "" {
		return nil
	}
	all, err := readRules(r.source.rules)
	if err != nil {
		return fmt.Errorf("the rules cannot be read: %w", err)
	}
	own := all.of(name)
	if own == nil {
		return nil
	}
	var unapproved error
	for _, rule := range own {
		switch {
		case rule.Pipelines != nil && !rule.Pipelines.matches(r.spec.Pipeline.Name):
		case rule.Modules != nil && !rule.Modules.matches(m.Name, m.Family):
		case rule.Digests == nil:
			return nil
		default:
			digest, err := r.digest()
			if err == nil && slices.Contains(rule.Digests, digest) {
				return nil
			}
			if unapproved = err; err == nil {
				unapproved = fmt.Errorf("the pipeline file has the SHA-256 %s", digest)
			}
		}
	}
	if unapproved != nil {
		return fmt.Errorf("the rules (%s) approve other definitions: %w", r.source.rules, unapproved)
	}
	return fmt.Errorf("the rules (%s) do not give it to this module of pipeline %q", r.source.rules, r.spec.Pipeline.Name)
}

// approved returns the SHA-256 of the file that has made the pipeline of a run. The
// file is only what the submitter says, so the pipeline is made of it again, and
// must be the same.
func approved(spec *jobs.Spec) (string, error) {
	o := spec.Origin
	switch {
	case o == nil || o.Program != nil || len(o.Text) == 0:
		return "", errors.New("the run was not made of a pipeline file")
	case len(spec.Env) > 0:
		return "", errors.New("--env and --env-file set variables that the pipeline file does not contain")
	}
	f, err := pipeline.Parse(o.File, o.Text)
	if err != nil {
		return "", fmt.Errorf("the pipeline file has faults: %w", err)
	}
	p, err := f.Bind(o.Params, func(name string) (string, bool) { v, ok := o.Env[name]; return v, ok })
	if err != nil {
		return "", fmt.Errorf("the pipeline file has faults: %w", err)
	}
	same, err := equal(p.SelectLike(spec.Pipeline), spec.Pipeline)
	if err != nil {
		return "", err
	}
	if !same {
		return "", errors.New("the run is not what its pipeline file makes")
	}
	sum := sha256.Sum256(o.Text)
	return hex.EncodeToString(sum[:]), nil
}

// equal compares pipelines as they travel.
func equal(a, b *pipeline.Pipeline) (bool, error) {
	first, err := travelled(a)
	if err != nil {
		return false, err
	}
	second, err := travelled(b)
	return bytes.Equal(first, second), err
}

// travelled is a pipeline as text, after a journey: what the encoding leaves out does
// not count.
func travelled(p *pipeline.Pipeline) ([]byte, error) {
	data, err := jobs.Marshal(&jobs.Record{Spec: &jobs.Spec{Pipeline: p}})
	if err != nil {
		return nil, err
	}
	rec, err := jobs.Unmarshal[jobs.Record](data)
	if err != nil {
		return nil, err
	}
	return json.Marshal(rec.Spec.Pipeline)
}
