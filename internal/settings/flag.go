package settings

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// value is a flag's value of any type. Its parse function describes the wanted form in
// its errors.
type value[T any] struct {
	to    *T
	kind  string // shown in the help
	parse func(string) (T, error)
	show  func(T) string
}

// String implements pflag.Value.
func (v value[T]) String() string {
	if v.to == nil {
		return ""
	}
	return v.show(*v.to)
}

// Type implements pflag.Value.
func (v value[T]) Type() string { return v.kind }

// Set implements pflag.Value.
func (v value[T]) Set(s string) error {
	t, err := v.parse(s)
	if err == nil {
		*v.to = t
	}
	return err
}

// TextFlag defines a flag that takes any text; kind is its argument in the
// help.
func TextFlag(fs *pflag.FlagSet, to *string, name, short, kind, def, usage string) {
	*to = def
	fs.VarP(value[string]{to, kind, func(s string) (string, error) { return s, nil }, func(s string) string { return s }}, name, short, usage)
}

// CountFlag takes a whole number of at least least.
func CountFlag(fs *pflag.FlagSet, to *int, name, short string, def, least int, usage string) {
	*to = def
	parse := func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return 0, fmt.Errorf("%q is not a whole number", s)
		}
		if n < least {
			return 0, fmt.Errorf("%d is less than %d", n, least)
		}
		return n, nil
	}
	show := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	fs.VarP(value[int]{to, "N", parse, show}, name, short, usage)
}

// TimeFlag takes a duration from least to most (0 = no bound).
func TimeFlag(fs *pflag.FlagSet, to *time.Duration, name string, def, least, most time.Duration, usage string) {
	*to = def
	parse := func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		switch {
		case err != nil:
			return 0, fmt.Errorf("%q is not a duration such as 90s or 1h30m", s)
		case d < least:
			return 0, fmt.Errorf("%s is less than %s", s, jobs.ShortDuration(least))
		case most > 0 && d > most:
			return 0, fmt.Errorf("%s is more than %s", s, jobs.ShortDuration(most))
		}
		return d, nil
	}
	show := func(d time.Duration) string {
		if d == 0 {
			return ""
		}
		return jobs.ShortDuration(d)
	}
	fs.Var(value[time.Duration]{to, "DURATION", parse, show}, name, usage)
}

// SwitchFlag is on or off. Help and docs show a flag of type bool without an
// argument.
func SwitchFlag(fs *pflag.FlagSet, to *bool, name, short, usage string) {
	parse := func(s string) (bool, error) {
		b, err := strconv.ParseBool(s)
		if err != nil {
			return false, fmt.Errorf("%q is neither true nor false", s)
		}
		return b, nil
	}
	show := func(b bool) string {
		if !b {
			return ""
		}
		return "true"
	}
	f := fs.VarPF(value[bool]{to, "bool", parse, show}, name, short, usage)
	f.NoOptDefVal = "true"
}

// ListFlag adds its value at every use. When split is set, it adds the words between
// commas.
func ListFlag(fs *pflag.FlagSet, to *[]string, name, kind string, split bool, usage string) {
	parse := func(s string) ([]string, error) {
		if !split {
			return append(*to, s), nil
		}
		for word := range strings.SplitSeq(s, ",") {
			if word = strings.TrimSpace(word); word != "" {
				*to = append(*to, word)
			}
		}
		return *to, nil
	}
	fs.Var(value[[]string]{to, kind, parse, func(l []string) string { return strings.Join(l, ",") }}, name, usage)
}

// Pair is a key and its value.
type Pair struct{ Key, Value string }

// PairsFlag adds KEY=VALUE at every use. The last of equal keys counts.
func PairsFlag(fs *pflag.FlagSet, to *[]Pair, name, usage string) {
	parse := func(s string) ([]Pair, error) {
		p, err := ParsePair(s)
		if err != nil {
			return nil, err
		}
		return append(*to, p), nil
	}
	fs.Var(value[[]Pair]{to, "KEY=VALUE", parse, func([]Pair) string { return "" }}, name, usage)
}

// ParsePair parses KEY=VALUE.
func ParsePair(s string) (Pair, error) {
	key, val, ok := strings.Cut(s, "=")
	if !ok || strings.TrimSpace(key) == "" {
		return Pair{}, errors.New("want KEY=VALUE")
	}
	return Pair{strings.TrimSpace(key), val}, nil
}

// PairMap returns the pairs as a map. The last of equal keys counts.
func PairMap(pairs []Pair) map[string]string {
	m := make(map[string]string, len(pairs))
	for _, p := range pairs {
		m[p.Key] = p.Value
	}
	return m
}

// SizeFlag takes a number of bytes, such as 512Mi or 1Gi; 0 = not given.
func SizeFlag(fs *pflag.FlagSet, to *int64, name, usage string) {
	parse := func(s string) (int64, error) {
		n, err := pipeline.ParseMemory(s)
		if err != nil || n < 1 {
			return 0, fmt.Errorf("%q is not a size such as 512Mi or 1Gi", s)
		}
		return n, nil
	}
	show := func(n int64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	fs.Var(value[int64]{to, "SIZE", parse, show}, name, usage)
}
