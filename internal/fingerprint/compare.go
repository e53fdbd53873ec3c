package fingerprint

import (
	"bytes"

	"github.com/modpipe/modpipe/jobs"
)

// Difference is one value in which two fingerprints differ.
type Difference struct {
	Part string
	Item string // within the part; "" = the part as a whole
	Kind Kind
}

// Kind says how a value differs.
type Kind string

// The kinds of differences.
const (
	Changed Kind = "changed"
	Added   Kind = "added"   // only the newer fingerprint has it
	Removed Kind = "removed" // only the older fingerprint has it
)

// Compare lists in what the parts of a newer fingerprint differ from those of an
// older one: in the order of the newer one, then what it lacks. It is empty when
// the fingerprints are equal.
func Compare(older, newer []jobs.Part) []Difference {
	known := make(map[string]jobs.Part, len(older))
	for _, p := range older {
		known[p.Name] = p
	}
	var all []Difference
	for _, p := range newer {
		old, ok := known[p.Name]
		delete(known, p.Name)
		switch {
		case !ok:
			all = append(all, Difference{Part: p.Name, Kind: Added})
		case !bytes.Equal(old.Digest, p.Digest):
			all = append(all, within(old, p)...)
		}
	}
	for _, p := range older {
		if _, left := known[p.Name]; left {
			all = append(all, Difference{Part: p.Name, Kind: Removed})
		}
	}
	return all
}

// within lists the items that differ, or the part as a whole where the items do
// not tell.
func within(older, newer jobs.Part) []Difference {
	known := make(map[string][]byte, len(older.Items))
	for _, x := range older.Items {
		known[x.Name] = x.Digest
	}
	var all []Difference
	for _, x := range newer.Items {
		old, ok := known[x.Name]
		delete(known, x.Name)
		switch {
		case !ok:
			all = append(all, Difference{newer.Name, x.Name, Added})
		case !bytes.Equal(old, x.Digest):
			all = append(all, Difference{newer.Name, x.Name, Changed})
		}
	}
	for _, x := range older.Items {
		if _, left := known[x.Name]; left {
			all = append(all, Difference{newer.Name, x.Name, Removed})
		}
	}
	if len(all) == 0 || len(older.Items) == 0 || len(newer.Items) == 0 && len(older.Items) > maxItems {
		return []Difference{{Part: newer.Name, Kind: Changed}}
	}
	return all
}
