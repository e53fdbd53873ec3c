package jobs

import (
	"fmt"
	"slices"
)

// Status is where a module of a run stands.
type Status uint8

// The statuses of a module. Those from Succeeded on are terminal.
const (
	Waiting  Status = iota // something it needs has not ended
	Ready                  // its needs have ended and it may start: it waits for a key, a limit or a slot
	Running                // an attempt is open
	Retrying               // an attempt has ended and the next one waits for its delay
	Succeeded
	Cached
	Skipped
	Failed
	TimedOut
	IgnoredFailure
	DependencyFailed
	Cancelled
)

var statusWords = [...]string{
	Waiting: "waiting", Ready: "ready", Running: "running", Retrying: "retrying",
	Succeeded: "succeeded", Cached: "cached", Skipped: "skipped", Failed: "failed", TimedOut: "timed_out",
	IgnoredFailure: "ignored_failure", DependencyFailed: "dependency_failed", Cancelled: "cancelled",
}

// String is the status's word, in files, reports and on screen.
func (s Status) String() string {
	if int(s) < len(statusWords) {
		return statusWords[s]
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// Terminal reports whether a module with this status has ended.
func (s Status) Terminal() bool { return s >= Succeeded }

// Bad reports whether what requires a module that ended so cannot run.
func (s Status) Bad() bool { return s == Failed || s == TimedOut || s == DependencyFailed }

// next is the table of legal transitions: from → to. Everything that is not
// here is a bug in the caller.
var next = [...][]Status{
	Waiting:  {Ready, Skipped, Failed, IgnoredFailure, DependencyFailed, Cancelled},
	Ready:    {Running, Skipped, Failed, IgnoredFailure, Cancelled, Cached, Succeeded, TimedOut},
	Running:  {Retrying, Ready, Succeeded, Skipped, Failed, TimedOut, IgnoredFailure, Cancelled},
	Retrying: {Ready, Failed, IgnoredFailure, Cancelled},
}

// CanBecome reports whether a module may go from s to t.
func (s Status) CanBecome(t Status) bool {
	if int(s) >= len(next) {
		return false
	}
	return slices.Contains(next[s], t)
}

// RunStatus is where a run stands.
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

// The ends of an attempt. None stands in an outcome that ends a module
// without an attempt (a condition, a queue time-out), whose Fate says how.
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
