package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/report"
)

// unreadable is the status, in lists, of a run whose log cannot be read, or
// that its orchestrator has set aside: it has no verdict, and no orchestrator decides
// for it.
const unreadable report.RunStatus = "unreadable"

// unreadableAdvice says what to do about such a run.
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

// markUnreadable finds the rows of runs whose logs cannot be read. An
// orchestrator has read the log of its run, so only runs without one are checked.
func markUnreadable(ctx context.Context, c *broker.Conn, rows []runRow) error {
	holders, err := kv.Holders(ctx, c.Conn)
	if err != nil {
		return err
	}
	for i := range rows {
		r := &rows[i]
		lease, held := holders[string(r.Run)]
		if lease.Problem != "" && r.Status == report.RunRunning {
			r.Status, r.Error = unreadable, "set aside by "+lease.Holder+": "+lease.Problem
		}
		if held || r.Status != report.RunRunning {
			continue
		}
		if err := client.New(c).Check(ctx, r.Run); runlog.Unreadable(err) {
			r.Status, r.Error = unreadable, err.Error()
		}
	}
	return nil
}
