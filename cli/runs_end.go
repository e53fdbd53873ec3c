package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/orchestrator"
)

func (a *app) runsEndCommand(p *place) *cobra.Command {
	force, reason := false, ""
	cmd := &cobra.Command{
		Use: "end RUN --force", Short: "End a run that cannot be handled", ValidArgsFunction: a.completeRuns(p),
		Long: `End a run that cannot be handled: its log is corrupt, or modpipe fails over it.
"runs list" shows such runs with their problem.

Workers kill what they run of it, its end is recorded as failed, and its jobs
leave the queue. Its always-run modules do not run. A run that a live
orchestrator decides for is left alone: "runs cancel" ends it in order.

Exit codes: 0 the run has been ended; 5 there is no such run, it has ended
already, or a live orchestrator decides for it.`,
	}
	switchFlag(cmd.Flags(), &force, "force", "", "end it although its modules have not ended (required)")
	textFlag(cmd.Flags(), &reason, "reason", "", "TEXT", "", "why")
	faults := func() []string {
		if force {
			return nil
		}
		return []string{"runs end RUN ends a run without regard for its modules: add --force, or end it in order with `orchestrator runs cancel RUN`"}
	}
	body := func(ctx context.Context, s *session, run jobs.RunID, _ []string) error {
		why := firstOf(reason, "ended by force by "+a.startedBy())
		err := orchestrator.End(ctx, s.conn, run, why)
		switch {
		case errors.Is(err, orchestrator.ErrEnded):
			return notFoundError("run %s has ended already", run)
		case errors.Is(err, orchestrator.ErrDecided):
			return notFoundError("%w: `orchestrator runs cancel %s` ends it in order", err, run)
		case err != nil:
			return err
		}
		writef(a.Stderr, "run %s has been ended\n", run)
		return nil
	}
	cmd.RunE = a.aRun(p, between(1, 1, "runs end RUN --force"), body, faults)
	return cmd
}
