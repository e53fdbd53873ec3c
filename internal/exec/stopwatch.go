package exec

import "time"

const (
	// ClockInterval is how often a process reads its clock to notice that it was
	// suspended.
	ClockInterval = 200 * time.Millisecond
	// leastPause is the shortest gap between two readings that counts as a
	// suspension, of the process or of the machine.
	leastPause = time.Second
)

// Stopwatch measures for how long something runs in this process, without the
// time in which the process was suspended. Its owner calls Ran every
// ClockInterval. It is not safe for concurrent use.
type Stopwatch struct {
	began  time.Time
	last   time.Time // when Ran was last called
	paused time.Duration
}

// NewStopwatch starts a Stopwatch.
func NewStopwatch(now time.Time) *Stopwatch { return &Stopwatch{began: now, last: now} }

// Ran is for how long it ran until now.
func (w *Stopwatch) Ran(now time.Time) time.Duration {
	if gap := now.Sub(w.last); gap > leastPause {
		w.paused += gap
	}
	if now.After(w.last) {
		w.last = now
	}
	return now.Sub(w.began) - w.paused
}

// Paused is for how long the process was suspended since the start.
func (w *Stopwatch) Paused() time.Duration { return w.paused }
