package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/worker"
)

// offers are the flags that describe what a worker offers beside what it finds on
// its machine.
type offers struct {
	tags   []string
	tools  []string
	labels []string
}

// offerFlags are their names.
func offerFlags() []string { return []string{"tags", "labels", "tools"} }

// define defines the flags of a program that is a worker.
func (o *offers) define(fs *pflag.FlagSet) { o.defineFor(fs, "") }

// defineInside defines the flags of a program that has a worker inside.
func (o *offers) defineInside(fs *pflag.FlagSet) {
	o.defineFor(fs, "of the worker inside this process: ")
}

func (o *offers) defineFor(fs *pflag.FlagSet, of string) {
	settings.ListFlag(fs, &o.tags, "tags", "A,B", true, of+"tags that modules may require")
	settings.ListFlag(fs, &o.tools, "tools", "A,B", true, of+"tools beside those found on PATH, as name or name=version; only:a,b offers these alone")
	settings.ListFlag(fs, &o.labels, "labels", "K=V,...", true, of+"labels that modules may require")
}

// faults returns the faults of the flags' values.
func (o *offers) faults() (faults []string) {
	for _, l := range o.labels {
		if _, err := settings.ParsePair(l); err != nil {
			faults = append(faults, fmt.Sprintf("--labels: %q: %v", l, err))
		}
	}
	cfg := worker.Config{}
	o.apply(&cfg)
	cfg.Labels = nil // checked above
	return append(faults, configFaults(cfg)...)
}

// configFaults are what the worker itself finds wrong, by flag.
func configFaults(cfg worker.Config) (faults []string) {
	err := cfg.Validate()
	if err == nil {
		return nil
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		faults = append(faults, "--"+line)
	}
	return faults
}

// apply configures a worker; o has no faults.
func (o *offers) apply(cfg *worker.Config) {
	cfg.Tags, cfg.Labels = o.tags, map[string]string{}
	for _, l := range o.labels {
		key, val, _ := strings.Cut(l, "=")
		cfg.Labels[strings.TrimSpace(key)] = val
	}
	cfg.Tools, cfg.OnlyTools = splitTools(o.tools)
}

// splitTools takes "only:" apart: from there on the list replaces what is
// found on PATH.
func splitTools(words []string) (added, only []string) {
	for _, w := range words {
		rest, replaces := strings.CutPrefix(w, "only:")
		switch {
		case replaces:
			if only == nil {
				only = []string{}
			}
			if rest != "" {
				only = append(only, rest)
			}
		case only != nil:
			only = append(only, w)
		default:
			added = append(added, w)
		}
	}
	return added, only
}
