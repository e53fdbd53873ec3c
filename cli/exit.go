package cli

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/report"
)

// explain gives an error its exit code and its last words.
func explain(err error) (code int, text string) {
	var withCode *exit.Error
	var sig exit.SignalError
	var dropped *broker.DroppedError
	switch {
	case errors.As(err, &sig):
		return exit.SignalCode(sig.Signal), sig.Error()
	case errors.As(err, &withCode):
		return withCode.Code, withCode.Error()
	case errors.As(err, &dropped):
		return exit.NotFound, dropped.Error()
	case errors.Is(err, broker.ErrNotFound), errors.Is(err, client.ErrExists),
		errors.Is(err, client.ErrEnded), errors.Is(err, kv.ErrTaken):
		return exit.NotFound, err.Error()
	case errors.Is(err, broker.ErrDenied):
		return exit.Infrastructure, err.Error() + "\nthe NATS user of this program lacks that permission"
	case errors.Is(err, broker.ErrRefused):
		return exit.Infrastructure, err.Error()
	case errors.Is(err, broker.ErrUnreachable), errors.Is(err, context.DeadlineExceeded):
		return exit.Infrastructure, err.Error()
	case strings.HasPrefix(err.Error(), "unknown command"): // cobra's own
		return exit.Usage, strings.TrimSpace(err.Error())
	}
	return exit.Infrastructure, err.Error()
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
		return exit.OK
	case report.RunFailed:
		if onlyQueueTimeouts(v.report) {
			return exit.NoTime
		}
		return exit.Failed
	case report.RunCancelled:
		return v.cancelCode()
	case report.RunRunning, report.RunUnreadable:
	}
	return exit.Infrastructure
}

func (v verdict) cancelCode() int {
	switch {
	case v.cancel == nil:
		return exit.Failed
	case v.cancel.Deadline:
		return exit.NoTime
	case v.cancel.By == bySignal:
		return signalledCode(v.cancel.Reason)
	}
	return exit.Failed
}

// signalledCode is the code of the signal that a cancellation names.
func signalledCode(reason string) int {
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		if strings.Contains(reason, exit.SignalName(s)) {
			return exit.SignalCode(s)
		}
	}
	return exit.Interrupted
}

// onlyQueueTimeouts reports whether every failure of the run was for want of
// a capable worker.
func onlyQueueTimeouts(r *report.Report) bool {
	found := false
	for _, m := range r.Modules {
		if m.Status != report.Failed && m.Status != report.TimedOut {
			continue
		}
		if !m.NoWorker {
			return false
		}
		found = true
	}
	return found
}
