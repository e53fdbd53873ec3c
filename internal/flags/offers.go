package flags

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/modpipe/modpipe/internal/settings"
)

// Offers are the flags that describe what a worker offers beside what it finds on
// its machine. Labels are KEY=VALUE; Tools are names, with a version after =, and
// after only: those that replace what the machine has.
type Offers struct {
	Tags   []string
	Tools  []string
	Labels []string
}

// OfferNames are the names of these flags.
func OfferNames() []string { return []string{"tags", "labels", "tools"} }

// Define defines the flags of a program that is a worker.
func (o *Offers) Define(fs *pflag.FlagSet) { o.defineFor(fs, "") }

// DefineInside defines the flags of a program that has a worker inside.
func (o *Offers) DefineInside(fs *pflag.FlagSet) {
	o.defineFor(fs, "of the worker inside this process: ")
}

func (o *Offers) defineFor(fs *pflag.FlagSet, of string) {
	settings.ListFlag(fs, &o.Tags, "tags", "A,B", true, of+"tags that modules may require")
	settings.ListFlag(fs, &o.Tools, "tools", "A,B", true, of+"tools beside those found on PATH, as name or name=version; only:a,b offers these alone")
	settings.ListFlag(fs, &o.Labels, "labels", "K=V,...", true, of+"labels that modules may require")
}

// LabelFaults returns the faults of the labels.
func (o *Offers) LabelFaults() (faults []string) {
	for _, l := range o.Labels {
		if _, err := settings.ParsePair(l); err != nil {
			faults = append(faults, fmt.Sprintf("--labels: %q: %v", l, err))
		}
	}
	return faults
}

// LabelMap is the labels by key; they have no faults.
func (o *Offers) LabelMap() map[string]string {
	labels := map[string]string{}
	for _, l := range o.Labels {
		key, val, _ := strings.Cut(l, "=")
		labels[strings.TrimSpace(key)] = val
	}
	return labels
}

// SplitTools returns the tools beside those found on PATH, and, where only: occurs,
// those that replace them. only is nil where it does not occur.
func (o *Offers) SplitTools() (added, only []string) { return splitTools(o.Tools) }

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
