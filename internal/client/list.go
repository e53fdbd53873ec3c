package client

import (
	"context"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/report"
)

// Runs is one page of the list of runs, newest first.
type Runs struct {
	Runs []report.Run
	Next uint64 // the value of broker.Page.Before for the next page; 0 = this is the last page
}

// List lists one page of runs. A run that no orchestrator can handle has the
// status report.RunUnreadable, and its Error holds the reason. A running one has an
// Error when no orchestrator that serves has its signing key.
func (c *Client) List(ctx context.Context, page broker.Page) (Runs, error) {
	rows, err := c.conn.Runs.List(ctx, page)
	if err != nil {
		return Runs{}, err
	}
	holders, err := kv.Holders(ctx, c.conn.Conn)
	if err != nil {
		return Runs{}, err
	}
	list := Runs{Runs: make([]report.Run, len(rows))}
	now := time.Now()
	for i := range rows {
		row := rows[i].Run
		if row.Status == report.RunRunning {
			row.Status, row.Error = c.state(ctx, rows[i], holders)
		}
		until := now
		if row.Finished != nil {
			until = *row.Finished
		}
		row.Duration = max(0, until.Sub(row.Started).Round(time.Millisecond).Seconds())
		list.Runs[i] = row
	}
	if page.Limit > 0 && len(rows) == page.Limit {
		list.Next = rows[len(rows)-1].Sequence
	}
	return list, nil
}

// state returns the status of a run without an end, and the reason when the
// status is RunUnreadable, or when no orchestrator that serves can take the run. It checks the log only of a run without an
// orchestrator, because an orchestrator has read the log of its run.
func (c *Client) state(ctx context.Context, row broker.RunRow, holders map[string]jobs.RunLease) (report.RunStatus, string) {
	if row.Problem != nil {
		return report.RunUnreadable, row.Problem.Error()
	}
	if lease, held := holders[row.Run.Run]; held {
		if lease.Problem != "" {
			return report.RunUnreadable, "set aside by " + lease.Holder + ": " + lease.Problem
		}
		return report.RunRunning, ""
	}
	if err := c.Check(ctx, jobs.RunID(row.Run.Run)); runlog.Unreadable(err) {
		return report.RunUnreadable, err.Error()
	}
	return report.RunRunning, c.unkeyed(ctx, jobs.RunID(row.Run.Run), holders)
}

// Latest returns the newest run. It returns broker.ErrNotFound when there are no
// runs.
func (c *Client) Latest(ctx context.Context) (jobs.RunID, error) {
	rows, err := c.conn.Runs.List(ctx, broker.Page{Limit: 1})
	if err != nil {
		return "", err
	}
	if len(rows) == 0 {
		return "", broker.ErrNotFound
	}
	return jobs.RunID(rows[0].Run.Run), nil
}
