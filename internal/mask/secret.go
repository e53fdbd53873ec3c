package mask

import (
	"fmt"
	"unicode/utf8"
)

const (
	// Fewest is how many characters a secret has at least, unless AllowShort is set:
	// the mask of a shorter one would hit ordinary text.
	Fewest = 8
	// MostBytes is how long a secret may be. Its forms take about 300 times as much
	// memory.
	MostBytes = 64 << 10
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
	switch n := utf8.RuneCountInString(s.Value); {
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
func (s Secret) masked() bool { return utf8.RuneCountInString(s.Value) >= Fewest }
