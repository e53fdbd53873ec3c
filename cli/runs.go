package cli

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/internal/progress"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/shown"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/internal/tables"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// latest stands for the newest run, wherever a command takes the id of a run.
const latest = "latest"

func runsCommand(a *app) *cobra.Command {
	p := &store.Location{}
	cmd := &cobra.Command{
		Use: "runs", Short: "Show runs, wait for them, cancel them, retry them",
		Long: "Show runs, wait for them, cancel them, retry them.\n\n" +
			"Without a NATS server these commands read the workspace's store, or ask the run that holds it.\n" +
			`"latest" stands for the newest run.`,
	}
	a.group(cmd)
	defineLocation(cmd.PersistentFlags(), p, workspaceRead)
	cmd.AddCommand(runsListCommand(a, p), runsShowCommand(a, p), runsLogsCommand(a, p), runsCancelCommand(a, p), runsEndCommand(a, p), runsRetryCommand(a, p), runsWaitCommand(a, p), runsArtifactsCommand(a, p))
	return cmd
}

// listOptions are the flags of `runs list`.
type listOptions struct {
	limit int // 0 = all
}

func runsListCommand(a *app, p *store.Location) *cobra.Command {
	o := &listOptions{}
	cmd := &cobra.Command{Use: "list", Short: "List runs, the newest first"}
	settings.CountFlag(cmd.Flags(), &o.limit, "limit", "n", 30, 0, "show at most this many; 0 = all")
	cmd.RunE = a.do(between(0, 0, "runs list"), func(ctx context.Context, _ []string) error {
		rows, err := listRuns(ctx, a, *p, o)
		if err != nil {
			return err
		}
		return showRuns(a, rows)
	})
	return cmd
}

// listRuns returns the newest runs. It warns when none of them can end.
func listRuns(ctx context.Context, a *app, p store.Location, o *listOptions) ([]report.Run, error) {
	s, err := a.open(ctx, p)
	if errors.Is(err, store.ErrNone) {
		console.Writeln(a.Stderr, err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer s.Close()
	list, err := client.New(s.Conn).List(ctx, broker.Page{Limit: o.limit})
	if err != nil {
		return nil, err
	}
	if s.Dead && slices.ContainsFunc(list.Runs, func(r report.Run) bool { return r.Status == report.RunRunning }) {
		console.Writeln(a.Stderr, "the orchestrators of running runs are gone: no process holds this store; `orchestrator resume RUN` takes a run over")
	}
	return list.Runs, nil
}

func showRuns(a *app, rows []report.Run) error {
	if rows == nil {
		rows = []report.Run{}
	}
	return a.emit(rows, func(w io.Writer) { tables.WriteRuns(w, rows, a.paint(w)) }, func(w io.Writer) {
		for _, r := range rows {
			console.Writeln(w, r.Run)
		}
	})
}

// aRun is a command about one run, whose id is the first argument.
func aRun(a *app, p *store.Location, check argsCheck, body func(ctx context.Context, s *access.Session, run jobs.RunID, args []string) error, faults ...func() []string) func(*cobra.Command, []string) error {
	return a.do(check, func(ctx context.Context, args []string) error {
		s, err := a.open(ctx, *p)
		if err != nil {
			return err
		}
		defer s.Close()
		run, err := findRun(ctx, s.Conn, args[0])
		if err != nil {
			return err
		}
		err = body(ctx, s, run, args[1:])
		if errors.Is(err, broker.ErrNotFound) {
			return noRunError(run)
		}
		return explainUnreadable(s.Conn, run, err)
	}, faults...)
}

func findRun(ctx context.Context, c *broker.Conn, id string) (jobs.RunID, error) {
	if id != latest {
		if !jobs.ValidID(id) {
			return "", exit.NotFoundf("%q cannot be the id of a run", id)
		}
		return jobs.RunID(id), nil
	}
	run, err := client.New(c).Latest(ctx)
	if errors.Is(err, broker.ErrNotFound) {
		return "", exit.NotFoundf("there is no run here yet")
	}
	return run, err
}

func runsShowCommand(a *app, p *store.Location) *cobra.Command {
	return &cobra.Command{
		Use: "show RUN", Short: "Show a run's report", ValidArgsFunction: completeRuns(a, p),
		RunE: aRun(a, p, between(1, 1, "runs show RUN"), func(ctx context.Context, s *access.Session, run jobs.RunID, _ []string) error {
			rep, err := client.New(s.Conn).Show(ctx, run)
			if err != nil {
				return err
			}
			if rep.Status == report.RunRunning {
				warnOrphan(ctx, a, s, run)
			}
			return a.emit(rep, func(w io.Writer) { tables.WriteReport(w, shown.Report(rep), a.paint(w)) },
				func(w io.Writer) { console.Writeln(w, rep.Run) })
		}),
	}
}

func runsCancelCommand(a *app, p *store.Location) *cobra.Command {
	reason := ""
	cmd := &cobra.Command{Use: "cancel RUN", Short: "Cancel a run; a second time ends its always-run modules too", ValidArgsFunction: completeRuns(a, p)}
	settings.TextFlag(cmd.Flags(), &reason, "reason", "", "TEXT", "", "why")
	cmd.RunE = aRun(a, p, between(1, 1, "runs cancel RUN"), func(ctx context.Context, s *access.Session, run jobs.RunID, _ []string) error {
		who := startedBy(a)
		err := client.New(s.Conn).Cancel(ctx, run, jobs.Cancel{
			ID: ident.New(), By: who, Reason: cmp.Or(reason, "cancelled by "+who),
		})
		if errors.Is(err, client.ErrEnded) {
			return exit.NotFoundf("run %s has ended already", run)
		}
		if err != nil {
			return err
		}
		console.Writef(a.Stderr, "the cancellation of run %s is stored\n", run)
		warnOrphan(ctx, a, s, run)
		return nil
	})
	return cmd
}

// warnOrphan warns about a run that goes on when no orchestrator decides for it, and none
// will by itself.
func warnOrphan(ctx context.Context, a *app, s *access.Session, run jobs.RunID) {
	if !s.Dead {
		there, err := client.New(s.Conn).Decided(ctx, run)
		if err != nil || there {
			return
		}
	}
	tellUndecided(a, run)
}

func tellUndecided(a *app, run jobs.RunID) {
	console.Writef(a.Stderr, "no orchestrator decides for run %s: it goes on when one takes it over, as `orchestrator resume %s` does\n", run, run)
}

// waitOptions are the flags of `runs wait`.
type waitOptions struct {
	timeout time.Duration // 0 = none
}

func runsWaitCommand(a *app, p *store.Location) *cobra.Command {
	o := &waitOptions{}
	cmd := &cobra.Command{
		Use: "wait RUN", Short: "Wait for a run's end, and exit as `run` would", ValidArgsFunction: completeRuns(a, p),
	}
	settings.TimeFlag(cmd.Flags(), &o.timeout, "timeout", 0, 0, 0, "give up, with exit code 3, after this time; the run goes on (default: never)")
	cmd.RunE = aRun(a, p, between(1, 1, "runs wait RUN"), func(ctx context.Context, s *access.Session, run jobs.RunID, _ []string) error {
		rep, err := waitRun(ctx, a, s, run, o)
		if err != nil {
			return err
		}
		if err := emitReport(a, rep); err != nil {
			return err
		}
		return exit.With(verdictOf(ctx, s.Conn, rep).code())
	})
	return cmd
}

// waitRun shows a run until it has ended, and returns its report.
func waitRun(ctx context.Context, a *app, s *access.Session, run jobs.RunID, o *waitOptions) (*report.Report, error) {
	follow := client.FollowOptions{}
	var show progress.Progress = progress.Silent()
	if a.set.Progress != "auto" {
		show = progressOf(a, nil)
		defer show.Close()
		follow = client.FollowOptions{Sink: show.Event, Output: true}
	}
	rep, err := client.New(s.Conn).Wait(ctx, run, client.WaitOptions{
		Follow: follow, Timeout: o.timeout, Alone: s.Dead, Undecided: func() { tellUndecided(a, run) },
	})
	switch {
	case errors.Is(err, client.ErrUndecided):
		return nil, exit.Infrastructuref("run %s has lost its orchestrator: no process holds its store, so it will not end by itself; `orchestrator resume %s` takes it over", run, run)
	case errors.Is(err, client.ErrTimeout):
		return nil, exit.Infrastructuref("run %s has not ended within %s; it goes on", run, jobs.ShortDuration(o.timeout))
	case err != nil:
		return nil, err
	}
	show.End(rep)
	return rep, nil
}
