package cli

import (
	"context"
	"io"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/internal/tables"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

func runsArtifactsCommand(a *app, p *store.Location) *cobra.Command {
	cmd := &cobra.Command{
		Use: "artifacts", Short: "List and download the files that modules of a run have left",
		Long: "List and download the files that modules of a run have left. They live as long as the run's log.",
	}
	a.group(cmd)
	cmd.AddCommand(artifactsListCommand(a, p), artifactsDownloadCommand(a, p))
	return cmd
}

func artifactsListCommand(a *app, p *store.Location) *cobra.Command {
	cmd := &cobra.Command{Use: "list RUN", Short: "List the artifacts of a run", ValidArgsFunction: completeRuns(a, p)}
	cmd.RunE = aRun(a, p, between(1, 1, "runs artifacts list RUN"), func(ctx context.Context, s *access.Session, run jobs.RunID, _ []string) error {
		found, err := client.New(s.Conn).Artifacts(ctx, run)
		if err != nil {
			return err
		}
		rows := []tables.Artifact{}
		for _, x := range found {
			rows = append(rows, tables.Artifact{Module: x.Module, Expired: x.Expired, Artifact: report.Artifact{Name: x.Name, Files: x.Tree.Files, Bytes: x.Tree.Bytes, SHA256: x.Tree.Root}})
		}
		return showArtifacts(a, rows)
	})
	return cmd
}

func showArtifacts(a *app, rows []tables.Artifact) error {
	return a.emit(rows, func(w io.Writer) { tables.WriteArtifacts(w, rows) }, func(w io.Writer) {
		for _, r := range rows {
			console.Writeln(w, r.Module+"/"+r.Name)
		}
	})
}

func artifactsDownloadCommand(a *app, p *store.Location) *cobra.Command {
	to := "."
	cmd := &cobra.Command{
		Use: "download RUN [MODULE/NAME]", Short: "Write artifacts of a run into a directory", ValidArgsFunction: completeRuns(a, p),
		Long: `Write artifacts of a run into a directory.

With MODULE/NAME the files of this artifact go to the paths that they had, below
the directory; without it each artifact of the run has a directory MODULE/NAME of its
own there. A file that is there already with the same content stays; one with
another content is an error, and nothing replaces it.

Exit codes: 0 written; 3 the content is not stored any more, or the directory
cannot be written; 5 there is no such run or artifact.`,
	}
	settings.TextFlag(cmd.Flags(), &to, "to", "", "DIR", ".", "the directory, which is created if it does not exist")
	cmd.RunE = aRun(a, p, between(1, 2, "runs artifacts download RUN [MODULE/NAME]"), func(ctx context.Context, s *access.Session, run jobs.RunID, args []string) error {
		found, err := client.New(s.Conn).Artifacts(ctx, run)
		if err != nil {
			return err
		}
		chosen, err := chosenArtifacts(run, found, args)
		if err != nil {
			return err
		}
		if err := machineFiles(s.Conn, "", 0, 0).Download(ctx, chosen, a.path(to)); err != nil {
			return err
		}
		for _, x := range chosen {
			console.Writef(a.Stderr, "%s/%s: %s, %s, in %s\n", x.Module, x.Name, phrase.Count(x.Tree.Files, "file"), phrase.Bytes(x.Tree.Bytes), path.Join(to, x.To))
		}
		return nil
	})
	return cmd
}

// chosenArtifacts are those that MODULE/NAME names, or all.
func chosenArtifacts(run jobs.RunID, found []client.Artifact, args []string) ([]jobs.Restore, error) {
	var chosen []jobs.Restore
	if len(args) == 0 {
		for _, x := range found {
			chosen = append(chosen, jobs.Restore{Artifact: x.Artifact, Module: x.Module, To: path.Join(x.Token, x.Name)})
		}
		if len(chosen) == 0 {
			return nil, exit.NotFoundf("run %s has left no artifacts", run)
		}
		return chosen, nil
	}
	cut := strings.LastIndexByte(args[0], '/')
	if cut < 0 {
		return nil, exit.Usagef("%q is not MODULE/NAME: `orchestrator runs artifacts list %s` shows them", args[0], run)
	}
	module, name := args[0][:cut], args[0][cut+1:]
	for _, x := range found {
		if x.Name == name && (x.Module == module || x.Token == module) {
			return []jobs.Restore{{Artifact: x.Artifact, Module: x.Module}}, nil
		}
	}
	return nil, exit.NotFoundf("run %s has no artifact %s: `orchestrator runs artifacts list %s` shows those that it has", run, args[0], run)
}
