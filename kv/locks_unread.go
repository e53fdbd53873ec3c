package kv

import (
	"errors"
	"math"

	"github.com/modpipe/modpipe/jobs"
)

// Runs of holders in an entry that only a newer version can read, or that is
// damaged. Neither can be the id of a run; both appear in the reasons for which a
// module waits.
const (
	runOfNewer   jobs.RunID = "(known to a newer version of modpipe only)"
	runOfNothing jobs.RunID = "(unknown: its entry in the bucket of locks cannot be read)"
)

// unread returns the replacement of an unreadable entry. It has as many holders as
// the lock allows. It has no name, so that Write refuses it.
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

// unknownRun reports whether a key is the run of such a holder.
func unknownRun(key string) bool { return key == string(runOfNewer) || key == string(runOfNothing) }
