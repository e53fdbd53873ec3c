package cli

import (
	"errors"
	"fmt"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/jobs"
)

// unreadableAdvice names the remedy for such a run.
func unreadableAdvice(c *broker.Conn, run jobs.RunID, err error) string {
	if errors.Is(err, jobs.ErrNewer) {
		return "an orchestrator of that version goes on with it"
	}
	return fmt.Sprintf("no orchestrator decides for it before its log changes; `orchestrator runs end %s --force` ends it, and `%s` removes all of it from NATS", run, c.Runs.DropCommand(run))
}

// explainUnreadable adds that to the error; others stay as they are.
func explainUnreadable(c *broker.Conn, run jobs.RunID, err error) error {
	if err == nil || !runlog.Unreadable(err) {
		return err
	}
	return exit.Infrastructuref("run %s: %w\n%s", run, err, unreadableAdvice(c, run, err))
}
