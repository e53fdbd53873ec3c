package flags

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/jobs"
)

// Cache are the flags of a new run about cached results.
type Cache struct {
	Mode      string // read-write, read, write or off
	Namespace string
	From      []string
	Refresh   bool
}

// cacheModes are the values of --cache.
var cacheModes = []string{"read-write", "read", "write", "off"}

// Define defines the flags.
func (o *Cache) Define(fs *pflag.FlagSet) {
	settings.TextFlag(fs, &o.Mode, "cache", "", strings.Join(cacheModes, "|"), "read-write", "how modules with a cache use earlier results, and leave theirs")
	Namespace(fs, &o.Namespace, "the namespace of the cache and of stored files (default: "+jobs.DefaultNamespace+")")
	CacheFrom(fs, &o.From, "also use results of these namespaces (repeatable)")
	settings.SwitchFlag(fs, &o.Refresh, "refresh", "", "run modules with a cache in any case, and replace their results in it")
}

// Namespace defines --cache-namespace.
func Namespace(fs *pflag.FlagSet, to *string, usage string) {
	settings.TextFlag(fs, to, "cache-namespace", "", "NAME", "", usage)
}

// Faults returns the faults of the values.
func (o *Cache) Faults(b *settings.Binder) (faults []string) {
	if !slices.Contains(cacheModes, o.Mode) {
		faults = append(faults, fmt.Sprintf("--cache%s: %q is not one of %s", b.FromOf("cache"), o.Mode, strings.Join(cacheModes, ", ")))
	}
	faults = append(faults, NamespaceFaults(b, o.Namespace)...)
	return append(faults, CacheFromFaults(b, o.From)...)
}

// CacheFrom defines --cache-from.
func CacheFrom(fs *pflag.FlagSet, to *[]string, usage string) {
	settings.ListFlag(fs, to, "cache-from", "NAMES", false, usage)
}

// CacheFromFaults returns the faults of the values of --cache-from.
func CacheFromFaults(b *settings.Binder, names []string) (faults []string) {
	for _, name := range names {
		if !jobs.ValidNamespace(name) {
			faults = append(faults, fmt.Sprintf("--cache-from%s: %q is not 1 to 64 letters, digits, _ and -", b.FromOf("cache-from"), name))
		}
	}
	return faults
}

// NamespaceFaults returns the fault of the value of --cache-namespace, if it has one.
func NamespaceFaults(b *settings.Binder, name string) []string {
	if name == "" || jobs.ValidNamespace(name) {
		return nil
	}
	return []string{fmt.Sprintf("--cache-namespace%s: %q is not 1 to 64 letters, digits, _ and -", b.FromOf("cache-namespace"), name)}
}

// Policy is what the flags say.
func (o *Cache) Policy() jobs.CachePolicy {
	return jobs.CachePolicy{
		Off: o.Mode == "off", NoRead: o.Mode == "write", NoWrite: o.Mode == "read",
		Refresh: o.Refresh, Namespace: o.Namespace, From: o.From,
	}
}
