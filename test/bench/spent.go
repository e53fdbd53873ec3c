package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// spent is what a work takes, in seconds.
type spent struct {
	Seconds float64 `json:"s"`
	CPU     float64 `json:"cpu_s"` // user and system, of all processes
}

func (s spent) and(t spent) spent { return spent{s.Seconds + t.Seconds, s.CPU + t.CPU} }

func (s spent) String() string { return fmt.Sprintf("%.2f (%.2f)", s.Seconds, s.CPU) }

// stopwatch measures what this process and others have spent since it was made.
type stopwatch struct {
	others *family
	began  time.Time
	cpu    float64
}

// watch starts a stopwatch; others may be nil.
func watch(others *family) stopwatch {
	if others == nil {
		others = new(family)
	}
	return stopwatch{others, time.Now(), others.cpu()}
}

func (w stopwatch) read() spent {
	return spent{time.Since(w.began).Seconds(), w.others.cpu() - w.cpu}
}

// timed runs a script of the shell.
func timed(script string, args ...string) (spent, error) {
	w := watch(nil)
	cmd := exec.CommandContext(context.Background(), "sh", append([]string{"-euc", script, "sh"}, args...)...)
	cmd.Stderr = os.Stderr
	err := cmd.Run()
	took := w.read()
	if s := cmd.ProcessState; s != nil {
		took.CPU = (s.UserTime() + s.SystemTime()).Seconds()
	}
	return took, err
}
