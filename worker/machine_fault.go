package worker

import (
	"errors"
	"io/fs"
	"time"

	"github.com/modpipe/modpipe/report"
)

// machineError is an error before the start of an attempt that the machine
// causes, and not the module: another machine may begin the same attempt.
type machineError struct{ error }

func (e machineError) Unwrap() error { return e.error }

// machineCaused reports whether the machine causes an error: it is marked so,
// or the system says that it lacks something.
func machineCaused(err error) bool {
	_, marked := errors.AsType[machineError](err)
	return marked || lacksResources(err)
}

// notStarted is the end of an attempt that did not start. What the machine
// causes is handed back.
func notStarted(err error) ending {
	e := ending{status: report.AttemptFailed, text: err.Error(), finished: time.Now()}
	if machineCaused(err) {
		e.status, e.unable = report.AttemptHandedBack, true
	}
	return e
}

// plainly is err without the path: the paths of attempts are random, and
// equal reasons must read alike.
func plainly(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
