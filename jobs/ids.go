package jobs

import "regexp"

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

// ValidID reports whether s can name a run or a worker.
func ValidID(s string) bool { return idPattern.MatchString(s) }
