package jobs

import (
	"cmp"
	"regexp"
	"slices"
	"time"

	"github.com/modpipe/modpipe/report"
)

// DefaultNamespace is the namespace of the cache of a run that names none.
const DefaultNamespace = "main"

var namespacePattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// ValidNamespace reports whether s can name a namespace of the cache: 1 to 64
// letters, digits, hyphens and underscores.
func ValidNamespace(s string) bool { return namespacePattern.MatchString(s) }

// Writes is the namespace of the run's entries.
func (p CachePolicy) Writes() string { return cmp.Or(p.Namespace, DefaultNamespace) }

// Reads lists the namespaces that are searched for entries, in order: the run's
// own one first.
func (p CachePolicy) Reads() []string {
	own := p.Writes()
	return append([]string{own}, slices.DeleteFunc(slices.Clone(p.From), func(s string) bool { return s == own })...)
}

// Part is one part of a fingerprint.
type Part struct {
	Name   string `msgpack:"name"`
	Digest []byte `msgpack:"digest"` // SHA-256 of the part
	// Items are what the part consists of, so that two parts can be compared:
	// variables, axes, artifacts. Empty for a part of one value, and where
	// there are too many.
	Items []PartItem `msgpack:"items,omitempty"`
}

// PartItem is a named value within a part. Only its digest is kept.
type PartItem struct {
	Name   string `msgpack:"name"`
	Digest []byte `msgpack:"digest"`
}

// MaxCachedLog is how much of the output of an attempt is kept with its cached
// result, in bytes.
const MaxCachedLog = 16 << 20

// EmptyBlob names the content of no bytes. It is not stored.
var EmptyBlob = Blob{SHA256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}

// CacheEntry is the stored result of an attempt that succeeded. What it says is
// the claim of a program that may write to its namespace.
type CacheEntry struct {
	Fingerprint string            `msgpack:"fingerprint"` // hex; equals the entry's key
	Run         RunID             `msgpack:"run"`         // that stored it
	Pipeline    string            `msgpack:"pipeline"`
	Module      string            `msgpack:"module"` // by name
	Attempt     Attempt           `msgpack:"attempt"`
	By          string            `msgpack:"by,omitempty"` // who started the run: user@host
	Worker      string            `msgpack:"worker,omitempty"`
	When        time.Time         `msgpack:"when"` // the outcome was folded
	Took        time.Duration     `msgpack:"took,omitempty"`
	Outputs     Value             `msgpack:"outputs"`
	Artifacts   []Artifact        `msgpack:"artifacts,omitempty"`
	Log         Blob              `msgpack:"log"`             // what the attempt has written, in the namespace of the entry; empty = not kept
	Tools       map[string]string `msgpack:"tools,omitempty"` // versions that the worker had of what the module requires
	Parts       []Part            `msgpack:"parts,omitempty"`
	Inputs      Tree              `msgpack:"inputs"` // what the input globs matched
	Hermetic    bool              `msgpack:"hermetic,omitempty"`
	// Place is the store and machine for which the entry is valid. Empty for a
	// hermetic attempt, whose entry is valid everywhere.
	Place string `msgpack:"place,omitempty"`
	// Differs describes what an attempt of the same fingerprint has left
	// otherwise: the result is not reproducible.
	Differs string `msgpack:"differs,omitempty"`
}

// Cached is the entry as the record of a hit names it.
func (e *CacheEntry) Cached(namespace string) *Cached {
	return &Cached{
		Fingerprint: e.Fingerprint, Namespace: namespace, Run: e.Run, Module: e.Module, Attempt: e.Attempt,
		By: e.By, When: e.When, Log: e.Log,
	}
}

// maxRecent is how many fingerprints are kept of a module of a pipeline.
const maxRecent = 20

// CacheIndex lists the newest fingerprints of one module of a pipeline, newest
// first.
type CacheIndex struct {
	Pipeline string        `msgpack:"pipeline"`
	Module   string        `msgpack:"module"`
	Recent   []RecentPrint `msgpack:"recent"`
}

// RecentPrint is a fingerprint of an index.
type RecentPrint struct {
	Fingerprint string    `msgpack:"fingerprint"`
	When        time.Time `msgpack:"when"`
}

// Add puts a fingerprint in front, and reports whether that changes the index.
func (x *CacheIndex) Add(fingerprint string, when time.Time) bool {
	if len(x.Recent) > 0 && x.Recent[0].Fingerprint == fingerprint {
		return false
	}
	x.Recent = slices.DeleteFunc(x.Recent, func(r RecentPrint) bool { return r.Fingerprint == fingerprint })
	x.Recent = slices.Insert(x.Recent, 0, RecentPrint{fingerprint, when})
	x.Recent = x.Recent[:min(len(x.Recent), maxRecent)]
	return true
}

// Attempted is how attempts of one fingerprint have ended lately.
type Attempted struct {
	Failed    time.Time            `msgpack:"failed,omitempty"` // when the newest failure was folded; zero = none
	Succeeded time.Time            `msgpack:"succeeded,omitempty"`
	Run       RunID                `msgpack:"run,omitempty"` // of the newest failure
	Attempt   Attempt              `msgpack:"attempt,omitempty"`
	Status    report.AttemptStatus `msgpack:"status,omitempty"`
}
