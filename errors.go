package modpipe

import (
	"errors"
	"time"
)

// Permanent marks an error that another attempt would not change: the module fails,
// however many attempts are left.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// RetryAfter asks for the next attempt after d, instead of the delay of the
// module's Retry. It grants no attempt beyond those.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &retryError{d, err}
}

// Skip ends a module as skipped, for a reason that the function has found;
// what requires it is skipped too.
func Skip(reason string) error { return &skipError{reason} }

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

type retryError struct {
	after time.Duration
	error
}

func (e *retryError) Unwrap() error { return e.error }

type skipError struct{ reason string }

func (e *skipError) Error() string { return "skipped: " + e.reason }

// isPermanent, and its like, look through wrapped errors.
func isPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}
