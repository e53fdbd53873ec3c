package jobs

import "time"

// Durations are how long the modules of a pipeline have taken when they
// succeeded, by name: each a moving average over the runs so far.
type Durations struct {
	Took map[string]time.Duration `msgpack:"took"`
}

// maxDurations bounds what is remembered of one pipeline.
const maxDurations = 10_000

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
