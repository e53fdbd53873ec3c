package mask

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// Fewest is how many characters a secret has at least, unless AllowShort is set:
	// the mask of a shorter one would hit ordinary text.
	Fewest = 8
	// MostBytes is how long a secret may be. A Masker takes about 500 times as much
	// memory.
	MostBytes = 64 << 10
	// MostTogether is how long the secrets of an attempt may be together.
	MostTogether = 256 << 10
)

// Secret is a secret of one attempt.
type Secret struct {
	Name  string // for people, and for functions that ask for it
	Env   string // the variable of a command; "" = Name
	Value string
	File  bool // the variable holds the path of a file with the value
	// AllowShort accepts a value of fewer than Fewest characters, which is not masked.
	AllowShort bool
}

// Variable is the name of the environment variable of the secret.
func (s Secret) Variable() string {
	if s.Env != "" {
		return s.Env
	}
	return s.Name
}

// Check returns an error for a value that no attempt may have. The error does not
// contain the value.
func (s Secret) Check() error {
	switch n := s.length(); {
	case s.Value == "":
		return fmt.Errorf("secret %s is empty", s.Name)
	case n < Fewest && !s.AllowShort:
		return fmt.Errorf("secret %s has %d characters: fewer than %d cannot be masked without hitting ordinary text; take a longer one, or set `allow-short: true` for one that is not masked", s.Name, n, Fewest)
	case len(s.Value) > MostBytes:
		return fmt.Errorf("secret %s has %d bytes, and at most %d are masked: encrypt the file, and make its key the secret", s.Name, len(s.Value), MostBytes)
	}
	return nil
}

// masked reports whether the value is to be masked.
func (s Secret) masked() bool { return s.length() >= Fewest }

// length is the number of characters without the white space around them.
func (s Secret) length() int { return utf8.RuneCountInString(strings.TrimSpace(s.Value)) }

// Check returns all faults of the secrets of an attempt.
func Check(secrets []Secret) error {
	var errs []error
	together := 0
	for _, s := range secrets {
		errs = append(errs, s.Check())
		together += len(s.Value)
	}
	if together > MostTogether {
		errs = append(errs, fmt.Errorf("the secrets of the module have %d bytes, and at most %d are masked: encrypt a file, and make its key the secret", together, MostTogether))
	}
	return errors.Join(errs...)
}
