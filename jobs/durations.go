package jobs

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Durations are how long the modules of a pipeline have taken when they
// succeeded, by name: each a moving average over the runs so far.
type Durations struct {
	Took map[string]time.Duration `msgpack:"took"`
}

// maxDurations bounds what is remembered of one pipeline.
const maxDurations = 10_000

// Halve forgets the shorter half.
func (d *Durations) Halve() {
	names := slices.SortedFunc(maps.Keys(d.Took), func(a, b string) int { return cmp.Compare(d.Took[a], d.Took[b]) })
	for _, name := range names[:(len(names)+1)/2] {
		delete(d.Took, name)
	}
}

// Add takes what one run has measured into account, a quarter new and three
// quarters old.
func (d *Durations) Add(took map[string]time.Duration) {
	if d.Took == nil {
		d.Took = map[string]time.Duration{}
	}
	for name, t := range took {
		old, ok := d.Took[name]
		switch {
		case ok:
			d.Took[name] = old + (t-old)/4
		case len(d.Took) < maxDurations:
			d.Took[name] = t
		}
	}
}

// ShortDuration is a duration without parts that are zero: 6h, not 6h0m0s.
func ShortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
