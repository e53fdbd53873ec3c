package machine

import (
	"errors"
	"fmt"
	"io/fs"
)

// faultError marks an error that the machine causes.
type faultError struct{ error }

func (e faultError) Unwrap() error { return e.error }

// Errorf is fmt.Errorf for an error that the machine causes, and not the
// module: another machine may succeed with the same attempt.
func Errorf(format string, args ...any) error { return faultError{fmt.Errorf(format, args...)} }

// Caused reports whether the machine causes an error: Errorf made it, or the
// system reports that it lacks a resource.
func Caused(err error) bool {
	_, marked := errors.AsType[faultError](err)
	return marked || lacksResources(err)
}

// WithoutPath is the cause of an error of the file system. The paths of
// attempts are random, and equal reasons must read alike.
func WithoutPath(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
