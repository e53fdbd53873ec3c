package jobs

import (
	"regexp"
	"strings"
)

// RunID names a run: [A-Za-z0-9_-]{1,64}, never used twice on one NATS.
type RunID string

// ModuleID names a module of a run in subjects (pipeline.Module.ModuleID).
type ModuleID string

// Attempt numbers the executions of a module in a run, from 1.
type Attempt int

// AttemptID names one attempt of one module.
type AttemptID struct {
	Module  ModuleID `msgpack:"token"`
	Attempt Attempt  `msgpack:"attempt"`
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// ValidID reports whether s can name a run, or the group of a worker, or a worker
// in its group.
func ValidID(s string) bool { return idPattern.MatchString(s) }

// DefaultGroup is the group, in subjects, of workers that name none.
const DefaultGroup = "default"

// WorkerName is the full name of a worker: GROUP.NAME, or NAME alone in the default
// group, which may also be named "".
func WorkerName(group, name string) string {
	if group == "" || group == DefaultGroup {
		return name
	}
	return group + "." + name
}

// SplitWorker splits the full name of a worker. ok = it is one.
func SplitWorker(worker string) (group, name string, ok bool) {
	group, name, found := strings.Cut(worker, ".")
	if !found {
		return DefaultGroup, worker, ValidID(worker)
	}
	return group, name, group != DefaultGroup && ValidID(group) && ValidID(name)
}

// ValidWorker reports whether s is the full name of a worker.
func ValidWorker(s string) bool {
	_, _, ok := SplitWorker(s)
	return ok
}
