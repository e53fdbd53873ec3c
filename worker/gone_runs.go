package worker

import (
	"context"
	"errors"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

const (
	goneLook  = 5 * time.Second // between two checks for the logs of runs
	goneTwice = 2               // checks in a row that must miss a log
)

// endGone ends the attempts of runs whose logs NATS no longer has, because the server
// has lost its store, or the run was removed. Their results do not count, and no
// orchestrator is left that could ask for their end.
func (s *shift) endGone(ctx context.Context) error {
	tick := time.NewTicker(goneLook)
	defer tick.Stop()
	missed := map[jobs.RunID]int{}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		open := s.byRun()
		for run, tasks := range open {
			there, err := s.conn.Runs.HasLog(ctx, run)
			switch {
			case errors.Is(err, broker.ErrDenied): // this worker cannot know
				return nil
			case err != nil || there:
				delete(missed, run)
				continue
			}
			if missed[run]++; missed[run] >= goneTwice {
				s.endTasks(run, tasks)
			}
		}
		for run := range missed {
			if open[run] == nil {
				delete(missed, run)
			}
		}
	}
}

// byRun lists the open attempts of each run.
func (s *shift) byRun() map[jobs.RunID][]*task {
	open := map[jobs.RunID][]*task{}
	s.each(func(a *task) { open[a.job.Run] = append(open[a.job.Run], a) })
	return open
}

// endTasks ends attempts without an outcome, and removes their jobs from the queue.
func (s *shift) endTasks(run jobs.RunID, tasks []*task) {
	for _, a := range tasks {
		if a.Discarded() {
			continue
		}
		s.log.Warn("attempt ended: the log of its run is gone", "attempt", a.String(), "error", s.conn.Runs.Gone(run))
		a.Stops().Ask(attempt.Stop{Status: report.AttemptCancelled, Text: "the log of its run is gone", Grace: a.job.Grace, Discard: true})
		a.Ack()
	}
}
