package kv

import (
	"errors"
	"math"

	"github.com/modpipe/modpipe/jobs"
)

// What stands for the run of a holder of which only a newer version knows, or
// nobody. Neither can be the id of a run, and both read well where people are
// told for whom they wait.
const (
	runOfNewer   jobs.RunID = "(known to a newer version of modpipe only)"
	runOfNothing jobs.RunID = "(unknown: its entry in the bucket of locks cannot be read)"
)

// unread stands for an entry that cannot be read: as many hold the lock as may.
// Without its name it cannot be written.
func unread(lock jobs.Lock, why error) jobs.LockEntry {
	run := runOfNothing
	if errors.Is(why, jobs.ErrNewer) {
		run = runOfNewer
	}
	e := jobs.LockEntry{Limit: lock.Limit}
	for range max(lock.Max, 1) {
		e.Holders = append(e.Holders, jobs.Holder{Run: run, Module: "a module", Attempt: 1, Epoch: math.MaxUint64})
	}
	return e
}

// unknownRun reports whether a key stands for the run of such a holder.
func unknownRun(key string) bool { return key == string(runOfNewer) || key == string(runOfNothing) }
