package exit

import (
	"fmt"
	"os"
	"syscall"
)

// The exit codes of both programs.
const (
	OK             = 0
	Failed         = 1 // the run failed, or another process cancelled it
	Usage          = 2 // arguments, configuration, pipeline
	Infrastructure = 3 // NATS, storage
	NoTime         = 4 // the deadline, or no capable worker, ended the run
	NotFound       = 5 // not found, conflict
	HungUp         = 129
	Interrupted    = 130
	Terminated     = 143
)

// Error is an error with its exit code. Without an error under it the
// code is the whole message.
type Error struct {
	Code int
	Err  error
}

// Error is the text of the error under it.
func (e *Error) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

// Unwrap is the error under it.
func (e *Error) Unwrap() error { return e.Err }

// Usagef is an error in arguments, configuration or a pipeline.
func Usagef(format string, args ...any) error {
	return &Error{Usage, fmt.Errorf(format, args...)}
}

// NotFoundf is an error about something that does not exist, or exists already.
func NotFoundf(format string, args ...any) error {
	return &Error{NotFound, fmt.Errorf(format, args...)}
}

// Infrastructuref is an error of NATS, a disk or a machine.
func Infrastructuref(format string, args ...any) error {
	return &Error{Infrastructure, fmt.Errorf(format, args...)}
}

// With ends a command with a code, without a message.
func With(code int) error {
	if code == OK {
		return nil
	}
	return &Error{Code: code}
}

// SignalError ends a command that received a signal.
type SignalError struct{ Signal os.Signal }

// Error names the signal.
func (e SignalError) Error() string { return "interrupted by " + SignalName(e.Signal) }

// SignalName is the name of a signal, such as SIGTERM.
func SignalName(s os.Signal) string {
	switch s {
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGHUP:
		return "SIGHUP"
	}
	return "SIGINT"
}

// SignalCode is the exit code for a signal.
func SignalCode(s os.Signal) int {
	switch s {
	case syscall.SIGTERM:
		return Terminated
	case syscall.SIGHUP:
		return HungUp
	}
	return Interrupted
}
