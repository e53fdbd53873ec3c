package report

import "slices"

// Status is the state of a module of a run. Its text is the word that files,
// reports, events and pages show.
type Status string

// The statuses of a module. Those from Succeeded on are terminal.
const (
	Waiting          Status = "waiting"  // a module that it needs has not ended
	Ready            Status = "ready"    // its needs have ended; it waits for a key, a limit or a slot
	Running          Status = "running"  // an attempt is open
	Retrying         Status = "retrying" // an attempt has ended, and the next one waits for its delay
	Succeeded        Status = "succeeded"
	Cached           Status = "cached"
	Skipped          Status = "skipped"
	Failed           Status = "failed"
	TimedOut         Status = "timed_out"
	IgnoredFailure   Status = "ignored_failure"
	DependencyFailed Status = "dependency_failed"
	Cancelled        Status = "cancelled"
)

// next is the table of legal transitions. A transition that is not in it is a
// bug in the caller.
var next = map[Status][]Status{
	Waiting:  {Ready, Skipped, Failed, IgnoredFailure, DependencyFailed, Cancelled},
	Ready:    {Running, Skipped, Failed, IgnoredFailure, Cancelled, Cached, Succeeded, TimedOut},
	Running:  {Retrying, Ready, Succeeded, Skipped, Failed, TimedOut, IgnoredFailure, Cancelled},
	Retrying: {Ready, Failed, IgnoredFailure, Cancelled},
}

// Statuses lists all statuses, in the order of the constants.
func Statuses() []Status {
	return []Status{
		Waiting, Ready, Running, Retrying, Succeeded, Cached, Skipped, Failed, TimedOut, IgnoredFailure, DependencyFailed, Cancelled,
	}
}

// ranking orders the terminal statuses for a family: the status of the family is
// that of the member with the first one.
var ranking = []Status{Failed, TimedOut, DependencyFailed, Cancelled, Skipped, IgnoredFailure, Succeeded, Cached}

// Outranks reports whether a member of a family with status s decides the status
// of the family rather than one with status t. A member that has not ended
// outranks none.
func (s Status) Outranks(t Status) bool {
	return s.Terminal() && (!t.Terminal() || slices.Index(ranking, s) < slices.Index(ranking, t))
}

// Terminal reports whether a module with this status has ended.
func (s Status) Terminal() bool {
	switch s {
	case Succeeded, Cached, Skipped, Failed, TimedOut, IgnoredFailure, DependencyFailed, Cancelled:
		return true
	default:
		return false
	}
}

// Bad reports whether a module that requires one with this status cannot run.
func (s Status) Bad() bool { return s == Failed || s == TimedOut || s == DependencyFailed }

// CanBecome reports whether a module may go from s to t.
func (s Status) CanBecome(t Status) bool { return slices.Contains(next[s], t) }

// RunStatus is the state of a run.
type RunStatus string

// The statuses of a run; all but RunRunning are terminal.
const (
	RunRunning   RunStatus = "running"
	RunSucceeded RunStatus = "succeeded"
	RunFailed    RunStatus = "failed"
	RunCancelled RunStatus = "cancelled"
)

// AttemptStatus is how an attempt ended.
type AttemptStatus string

// The ends of an attempt. An outcome without an attempt (a condition, a queue
// time-out) has one of them too.
const (
	AttemptRunning    AttemptStatus = "running" // in reports of runs that go on; never in an outcome
	AttemptSucceeded  AttemptStatus = "succeeded"
	AttemptFailed     AttemptStatus = "failed"
	AttemptTimedOut   AttemptStatus = "timed_out"
	AttemptCancelled  AttemptStatus = "cancelled"
	AttemptLost       AttemptStatus = "lost"        // its worker fell silent
	AttemptHandedBack AttemptStatus = "handed_back" // its worker was told to go, or its machine could not begin it
	AttemptSkipped    AttemptStatus = "skipped"     // the condition was false, or a Go function said Skip
)
