package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/report"
)

// The exit codes of both programs.
const (
	exitOK             = 0
	exitFailed         = 1 // the run failed, or another process cancelled it
	exitUsage          = 2 // arguments, configuration, pipeline
	exitInfrastructure = 3 // NATS, storage
	exitNoTime         = 4 // the deadline, or no capable worker, ended the run
	exitNotFound       = 5 // not found, conflict
	exitHungUp         = 129
	exitInterrupted    = 130
	exitTerminated     = 143
)

// exitError is an error with its exit code. Without an error under it the
// code says all there is to say.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func notFoundError(format string, args ...any) error {
	return &exitError{exitNotFound, fmt.Errorf(format, args...)}
}

func infrastructureError(format string, args ...any) error {
	return &exitError{exitInfrastructure, fmt.Errorf(format, args...)}
}

// exitWith ends a command with a code and nothing more to say.
func exitWith(code int) error {
	if code == exitOK {
		return nil
	}
	return &exitError{code: code}
}

// signalError is what ended a command that was told to go.
type signalError struct{ signal os.Signal }

func (e signalError) Error() string { return "interrupted by " + signalName(e.signal) }

func signalName(s os.Signal) string {
	switch s {
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGHUP:
		return "SIGHUP"
	}
	return "SIGINT"
}

func signalCode(s os.Signal) int {
	switch s {
	case syscall.SIGTERM:
		return exitTerminated
	case syscall.SIGHUP:
		return exitHungUp
	}
	return exitInterrupted
}

// explain gives an error its exit code and its last words.
func (a *app) explain(err error) (code int, text string) {
	var exit *exitError
	var sig signalError
	var dropped *broker.DroppedError
	switch {
	case errors.As(err, &sig):
		return signalCode(sig.signal), sig.Error()
	case errors.As(err, &exit):
		return exit.code, exit.Error()
	case errors.As(err, &dropped):
		return exitNotFound, dropped.Error()
	case errors.Is(err, broker.ErrNotFound), errors.Is(err, orchestrator.ErrExists),
		errors.Is(err, orchestrator.ErrEnded), errors.Is(err, kv.ErrTaken):
		return exitNotFound, err.Error()
	case errors.Is(err, broker.ErrDenied):
		return exitInfrastructure, err.Error() + "\nthe NATS user of this program lacks that permission"
	case errors.Is(err, broker.ErrRefused):
		return exitInfrastructure, err.Error()
	case errors.Is(err, broker.ErrUnreachable), errors.Is(err, context.DeadlineExceeded):
		return exitInfrastructure, err.Error()
	case strings.HasPrefix(err.Error(), "unknown command"): // cobra's own
		return exitUsage, strings.TrimSpace(err.Error())
	}
	return exitInfrastructure, err.Error()
}

// bySignal names the canceller of a run whose process received a signal.
const bySignal = "signal"

// verdict is how a run ended, as far as exit codes ask.
type verdict struct {
	report *report.Report
	cancel *jobs.Cancel // the first one; nil without one
}

// code is the exit code of a command that followed the run to its end.
func (v verdict) code() int {
	switch v.report.Status {
	case report.RunSucceeded:
		return exitOK
	case report.RunFailed:
		if onlyQueueTimeouts(v.report) {
			return exitNoTime
		}
		return exitFailed
	case report.RunCancelled:
		return v.cancelCode()
	case report.RunRunning:
	}
	return exitInfrastructure
}

func (v verdict) cancelCode() int {
	switch {
	case v.cancel == nil:
		return exitFailed
	case v.cancel.Deadline:
		return exitNoTime
	case v.cancel.By == bySignal:
		return signalledCode(v.cancel.Reason)
	}
	return exitFailed
}

// signalledCode is the code of the signal that a cancellation names.
func signalledCode(reason string) int {
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		if strings.Contains(reason, signalName(s)) {
			return signalCode(s)
		}
	}
	return exitInterrupted
}

// onlyQueueTimeouts reports whether every failure of the run was for want of
// a capable worker.
func onlyQueueTimeouts(r *report.Report) bool {
	found := false
	for _, m := range r.Modules {
		switch m.Status {
		case report.Failed, report.TimedOut:
			if !m.NoWorker {
				return false
			}
			found = true
		}
	}
	return found
}
