package exec

import (
	"fmt"
	"sync"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// Supervise returns when a started task has ended: by itself, because of its
// time-out, or by a request. It passes the first request on, repeats it without
// a grace when the grace is over or another request has none, and gives the
// result of a stopped task the status of the request.
func Supervise(t *Task, h Handle) Result {
	var waiting sync.WaitGroup
	defer waiting.Wait()
	over := make(chan Result, 1) // so that Wait returns whatever happens here
	waiting.Go(func() { over <- h.Wait() })
	limit, force := after(t.limit()), (<-chan time.Time)(nil)
	var stopped *Stop
	for {
		select {
		case r := <-over:
			return t.finish(r, stopped, h)
		case <-limit:
			limit = t.overdue(h)
		case <-t.Stops.Changed():
			st, _ := t.Stops.Asked()
			if stopped == nil && st.Grace > 0 {
				force = time.After(st.Grace)
			}
			if stopped == nil || st.Grace == 0 {
				h.Stop(st)
			}
			stopped = &st
		case <-force:
			stop := *stopped
			stop.Grace = 0
			h.Stop(stop)
		}
	}
}

// overdue requests the end of a task that has used up its time-out. It returns a timer
// for the next check: a suspended execution has time left, and finish judges one that
// has ended.
func (t *Task) overdue(h Handle) <-chan time.Time {
	ran, ended := h.Ran()
	if ended {
		return nil
	}
	if more := t.limit() - ran; more > 0 {
		return after(more)
	}
	t.Stops.Ask(t.timedOut())
	return nil
}

// finish gives the result of an ended task its status. A task that ended by
// itself has timed out if it ran for longer than its time-out, whenever this is
// noticed.
func (t *Task) finish(r Result, stopped *Stop, h Handle) Result {
	if limit := t.limit(); stopped == nil && limit > 0 {
		if ran, _ := h.Ran(); ran > limit {
			t.Stops.Ask(t.timedOut())
		}
	}
	if stopped == nil {
		if st, ok := t.Stops.Asked(); ok {
			stopped = &st
		}
	}
	if stopped != nil {
		r = r.stoppedBy(*stopped)
	}
	switch {
	case r.OutputFault == nil:
	case r.Status == report.AttemptSucceeded:
		r.Status, r.Error = report.AttemptFailed, r.OutputFault.Error()
	default:
		r.Warnings = append(r.Warnings, r.OutputFault.Error())
	}
	return r
}

// stoppedBy is the result of an execution that a request has ended: what a
// function returned does not count, and what a command has set does.
func (r Result) stoppedBy(s Stop) Result {
	return Result{
		Status: s.Status, Error: s.Text + r.Abandoned, ExitCode: r.ExitCode, Warnings: r.Warnings,
		Started: r.Started, Finished: r.Finished, Outputs: r.Outputs, OutputFault: r.OutputFault, Gone: r.Gone,
	}
}

// limit is for how long the task may run; 0 = without a bound.
func (t *Task) limit() time.Duration {
	if t.Job.Timeout <= 0 {
		return 0
	}
	return max(1, t.Job.Timeout-t.Spent)
}

func (t *Task) timedOut() Stop {
	text := fmt.Sprintf("timed out after %v", jobs.ShortDuration(t.Job.Timeout))
	if t.Job.DefaultTimeout {
		text += ", the default: `timeout` sets another limit"
	}
	return Stop{Status: report.AttemptTimedOut, Text: text, Grace: t.Job.Grace}
}

// after fires when d has passed, and never when d is not positive.
func after(d time.Duration) <-chan time.Time {
	if d <= 0 {
		return nil
	}
	return time.After(d)
}
