package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/jobs"
)

func runsLogsCommand(a *app, p *store.Location) *cobra.Command {
	var attempt int
	var follow bool
	cmd := &cobra.Command{
		Use: "logs RUN [MODULE]", Short: "Print what modules wrote", ValidArgsFunction: completeRuns(a, p),
		Long: "Print what modules wrote: of one module byte for byte, of several each line after its module's name.\n" +
			"Lines are cut after 1 MiB; on a terminal, and after a name, escape sequences other than colours are left out.\n" +
			"MODULE is a module or a family. Without --attempt, the newest attempt of each module.\n" +
			"--follow prints lines as they come, of every attempt, until the run has ended.",
	}
	settings.CountFlag(cmd.Flags(), &attempt, "attempt", "", 0, 1, "print this attempt")
	settings.SwitchFlag(cmd.Flags(), &follow, "follow", "f", "go on until the run has ended")
	show := aRun(a, p, between(1, 2, "runs logs RUN [MODULE]"), func(ctx context.Context, s *access.Session, run jobs.RunID, args []string) error {
		module := ""
		if len(args) > 0 {
			module = args[0]
		}
		p := &client.LogPrinter{
			Client: client.New(s.Conn), Run: run, Module: module, Attempt: jobs.Attempt(attempt),
			Follow: follow && !s.Dead, // on a dead store nothing more comes
			Stdout: a.Stdout, Stderr: a.Stderr,
		}
		return p.Print(ctx)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a.readsOutput = true
		return show(cmd, args)
	}
	return cmd
}
