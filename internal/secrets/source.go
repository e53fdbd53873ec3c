package secrets

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/pipeline"
)

// Config says where a process has its secrets from.
type Config struct {
	// Secrets are NAME, for a variable of the environment, or NAME=@FILE.
	Secrets []string
	// Dir has a file for each secret, by name; "" = none. Names of its files that
	// cannot be those of secrets are left out.
	Dir string
	// Rules is the file with the rules; "" = every run may have every secret.
	Rules string
	// Lookup reads a variable of the environment; nil = os.LookupEnv.
	Lookup func(name string) (string, bool)
}

// ErrUnknown reports that a process does not have a secret.
var ErrUnknown = errors.New("is not known here")

// Source has the secrets of a process. It is safe for concurrent use; nil has none.
type Source struct {
	variables map[string]bool
	files     map[string]string // name → path
	dir       string
	lookup    func(string) (string, bool)
	rules     string
}

// New returns a source, or all faults of its configuration together.
func New(cfg Config) (*Source, error) {
	s := &Source{variables: map[string]bool{}, files: map[string]string{}, dir: cfg.Dir, lookup: cfg.Lookup, rules: cfg.Rules}
	if s.lookup == nil {
		s.lookup = os.LookupEnv
	}
	var faults []error
	for _, text := range cfg.Secrets {
		if err := s.add(text); err != nil {
			faults = append(faults, fmt.Errorf("secret: %w", err))
		}
	}
	if s.dir != "" {
		if info, err := os.Stat(s.dir); err != nil {
			faults = append(faults, fmt.Errorf("secrets-dir: %w", err))
		} else if !info.IsDir() {
			faults = append(faults, fmt.Errorf("secrets-dir: %s is not a directory", s.dir))
		}
	}
	if s.rules != "" {
		if _, err := readRules(s.rules); err != nil {
			faults = append(faults, fmt.Errorf("secret-rules: %w", err))
		}
	}
	return s, errors.Join(faults...)
}

// add takes NAME or NAME=@FILE.
func (s *Source) add(text string) error {
	name, file, isFile := strings.Cut(text, "=@")
	if !isFile && strings.Contains(text, "=") {
		name, _, _ = strings.Cut(text, "=")
		return fmt.Errorf("%s: a value on the command line is seen by every user of the machine: write %s alone to take it from the environment, or %s=@FILE", name, name, name)
	}
	if err := pipeline.ValidSecret(name); err != nil {
		return err
	}
	if isFile {
		s.files[name] = file
		_, err := s.Value(name)
		return err
	}
	if v, ok := s.lookup(name); !ok || v == "" {
		return fmt.Errorf("%s: the environment has no variable with this name, or it is empty", name)
	}
	s.variables[name] = true
	return nil
}

// Value reads a secret. The error is ErrUnknown, or says why it cannot be read.
func (s *Source) Value(name string) (string, error) {
	if s == nil {
		return "", ErrUnknown
	}
	if path, ok := s.files[name]; ok {
		return readSecret(path)
	}
	if s.variables[name] {
		v, _ := s.lookup(name)
		return v, nil
	}
	if s.dir == "" || pipeline.ValidSecret(name) != nil {
		return "", ErrUnknown
	}
	v, err := readSecret(filepath.Join(s.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrUnknown
	}
	return v, err
}

// Names are those of all secrets that there are now, sorted.
func (s *Source) Names() []string {
	if s == nil {
		return nil
	}
	names := map[string]bool{}
	maps.Copy(names, s.variables)
	for name := range s.files {
		names[name] = true
	}
	if s.dir != "" {
		entries, _ := os.ReadDir(s.dir) // unreadable = empty: Value says why
		for _, e := range entries {
			path := filepath.Join(s.dir, e.Name())
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && pipeline.ValidSecret(e.Name()) == nil {
				names[e.Name()] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// readSecret reads a file. The end of line that editors and echo put after a value
// of one line does not belong to it; a value of several lines stays as it is.
func readSecret(path string) (string, error) {
	info, err := os.Stat(path) // a pipe would block the open
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, mask.MostBytes+2))
	if err != nil {
		return "", err
	}
	text := string(data)
	if line := strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r"); !strings.Contains(line, "\n") {
		text = line
	}
	return text, nil
}
