package worker

import "time"

const (
	// lookEvery is how often a process looks at its clock: a longer gap means
	// that it was stopped, or the machine was.
	lookEvery = 200 * time.Millisecond
	// stoppedFor is the least gap that counts.
	stoppedFor = time.Second
)

// stopwatch measures how long something runs in this process, without the time
// in which the process was stopped. Its user looks at it every lookEvery.
type stopwatch struct {
	began  time.Time
	looked time.Time
	paused time.Duration // since began
}

func newStopwatch(now time.Time) *stopwatch { return &stopwatch{began: now, looked: now} }

// ran looks at the clock, and returns for how long it ran until then.
func (w *stopwatch) ran(now time.Time) time.Duration {
	if gap := now.Sub(w.looked); gap > stoppedFor {
		w.paused += gap
	}
	if now.After(w.looked) {
		w.looked = now
	}
	return now.Sub(w.began) - w.paused
}
