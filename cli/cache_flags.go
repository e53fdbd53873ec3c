package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/jobs"
)

// cacheOptions are the flags of a new run about cached results.
type cacheOptions struct {
	mode      string
	namespace string
	from      []string
	refresh   bool
}

// cacheModes are the values of --cache.
var cacheModes = []string{"read-write", "read", "write", "off"}

func (o *cacheOptions) define(fs *pflag.FlagSet) {
	settings.TextFlag(fs, &o.mode, "cache", "", strings.Join(cacheModes, "|"), "read-write", "how modules with a cache use earlier results, and leave theirs")
	namespaceFlag(fs, &o.namespace, "the namespace of the cache and of stored files (default: "+jobs.DefaultNamespace+")")
	cacheFromFlag(fs, &o.from, "also use results of these namespaces (repeatable)")
	settings.SwitchFlag(fs, &o.refresh, "refresh", "", "run modules with a cache in any case, and replace their results in it")
}

func namespaceFlag(fs *pflag.FlagSet, to *string, usage string) {
	settings.TextFlag(fs, to, "cache-namespace", "", "NAME", "", usage)
}

func (o *cacheOptions) faults(a *app) (faults []string) {
	if !slices.Contains(cacheModes, o.mode) {
		faults = append(faults, fmt.Sprintf("--cache%s: %q is not one of %s", a.bind.FromOf("cache"), o.mode, strings.Join(cacheModes, ", ")))
	}
	faults = append(faults, namespaceFaults(a, o.namespace)...)
	return append(faults, cacheFromFaults(a, o.from)...)
}

func cacheFromFlag(fs *pflag.FlagSet, to *[]string, usage string) {
	settings.ListFlag(fs, to, "cache-from", "NAMES", false, usage)
}

func cacheFromFaults(a *app, names []string) (faults []string) {
	for _, name := range names {
		if !jobs.ValidNamespace(name) {
			faults = append(faults, fmt.Sprintf("--cache-from%s: %q is not 1 to 64 letters, digits, _ and -", a.bind.FromOf("cache-from"), name))
		}
	}
	return faults
}

func namespaceFaults(a *app, name string) []string {
	if name == "" || jobs.ValidNamespace(name) {
		return nil
	}
	return []string{fmt.Sprintf("--cache-namespace%s: %q is not 1 to 64 letters, digits, _ and -", a.bind.FromOf("cache-namespace"), name)}
}

// policy is what the flags say.
func (o *cacheOptions) policy() jobs.CachePolicy {
	return jobs.CachePolicy{
		Off: o.mode == "off", NoRead: o.mode == "write", NoWrite: o.mode == "read",
		Refresh: o.refresh, Namespace: o.namespace, From: o.from,
	}
}
