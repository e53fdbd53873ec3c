package jobs

import "regexp"

// RunID names a run: [A-Za-z0-9_-]{1,64}, never used twice on one NATS.
type RunID string

// Token names a module of a run in subjects (pipeline.Module.Token).
type Token string

// Attempt numbers the executions of a module in a run, from 1.
type Attempt int

// Key names one attempt of one module.
type Key struct {
	Token   Token   `msgpack:"token"`
	Attempt Attempt `msgpack:"attempt"`
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// ValidID reports whether s can name a run or a worker.
func ValidID(s string) bool { return idPattern.MatchString(s) }
