package cli

import (
	"context"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/internal/tables"
)

func planCommand(a *app) *cobra.Command {
	s, where := &pipelineFlags{}, &store.Location{}
	cmd := &cobra.Command{
		Use: "plan FILE", Short: "Show what a run would do: waves, lanes, estimates", ValidArgsFunction: completeFile,
		Long: "Show what a run would do, and run nothing: the waves in which modules may start,\n" +
			"the lane on which each waits for a worker, and how long it has usually taken.",
	}
	s.define(cmd.Flags())
	defineLocation(cmd.Flags(), where, "whose earlier runs to estimate from (default: the git work tree that holds FILE, else FILE's directory)")
	completeSelection(a, cmd)
	cmd.RunE = a.do(between(1, 1, "plan FILE"), func(ctx context.Context, args []string) error {
		p, err := loadUntilSignal(ctx, a, args[0], *s)
		if err != nil {
			return err
		}
		took := historyOf(ctx, a, *where, args[0], p.Name)
		return a.untilSignal(ctx, func() error {
			plan := tables.NewPlan(p, took)
			return a.emit(plan, plan.Write, func(w io.Writer) {
				for _, m := range plan.Modules {
					console.Writeln(w, safetext.Line(m.Name))
				}
			})
		})
	})
	return cmd
}

// historyPatience bounds what a plan spends on its estimates.
const historyPatience = 3 * time.Second

// history is how long the pipeline's modules have taken before, as far as the
// server or store that a run would use knows. A plan is as good without.
func historyOf(ctx context.Context, a *app, p store.Location, file, pipeline string) map[string]time.Duration {
	ctx, stop := context.WithTimeout(ctx, historyPatience)
	defer stop()
	s, err := a.sessions.OpenFor(ctx, p, filepath.Dir(a.path(file)))
	if err != nil {
		return nil
	}
	defer s.Close()
	known, err := client.New(s.Conn).Durations(ctx, pipeline)
	if err != nil {
		return nil
	}
	return known.Took
}
