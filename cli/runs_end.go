package cli

import (
	"cmp"
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/jobs"
)

func runsEndCommand(a *app, p *store.Location) *cobra.Command {
	force, reason := false, ""
	cmd := &cobra.Command{
		Use: "end RUN --force", Short: "End a run that cannot be handled", ValidArgsFunction: completeRuns(a, p),
		Long: `End a run that cannot be handled: its log is corrupt, or modpipe fails over it.
"runs list" shows such runs with their problem.

Workers kill what they run of it, its end is recorded as failed, and its jobs
leave the queue. Its always-run modules do not run. A run that a live
orchestrator decides for is left alone: "runs cancel" ends it in order.

Exit codes: 0 the run has been ended; 5 there is no such run, it has ended
already, or a live orchestrator decides for it.`,
	}
	settings.SwitchFlag(cmd.Flags(), &force, "force", "", "end it although its modules have not ended (required)")
	settings.TextFlag(cmd.Flags(), &reason, "reason", "", "TEXT", "", "why")
	faults := func() []string {
		if force {
			return nil
		}
		return []string{"runs end RUN ends a run without regard for its modules: add --force, or end it in order with `orchestrator runs cancel RUN`"}
	}
	body := func(ctx context.Context, s *access.Session, run jobs.RunID, _ []string) error {
		why := cmp.Or(reason, "ended by force by "+startedBy(a))
		err := client.New(s.Conn).End(ctx, run, why)
		switch {
		case errors.Is(err, client.ErrEnded):
			return exit.NotFoundf("run %s has ended already", run)
		case errors.Is(err, client.ErrDecided):
			return exit.NotFoundf("%w: `orchestrator runs cancel %s` ends it in order", err, run)
		case err != nil:
			return err
		}
		console.Writef(a.Stderr, "run %s has been ended\n", run)
		return nil
	}
	cmd.RunE = aRun(a, p, between(1, 1, "runs end RUN --force"), body, faults)
	return cmd
}
