package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/flags"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/report"
)

const resumeWorkspace = "the directory in which modules run without a server, and whose runs are read (default: the git work tree around the working directory, else that directory)"

func resumeCommand(a *app) *cobra.Command {
	o := &execution{}
	cmd := &cobra.Command{
		Use:   "resume RUN",
		Short: "Take a run over whose orchestrator died, and follow it to its end",
		Long: `Take a run over whose orchestrator died, and follow it to its end.

What has a result is not run again; what workers are running goes on, and its
result counts. A run whose orchestrator lives is left alone (exit code 5).
Without a NATS server the run is looked for in the workspace's store, and its
modules run on a worker inside this process; beside a dev that serves the store,
on that one's. "latest" stands for the newest run.

Exit codes: as those of run; 5 when there is no such run, when it has ended, or
when its orchestrator lives.`,
		ValidArgsFunction: completeRuns(a, &o.Location),
	}
	o.define(cmd.Flags(), resumeWorkspace)
	flags.SigningKey(cmd.Flags(), &a.sessions.KeyFiles)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.prepare(cmd, args, between(1, 1, "resume RUN"), func() []string { return o.faults(a) }); err != nil {
			return err
		}
		_, err := resumeRun(cmd.Context(), a, args[0], o)
		return err
	}
	return cmd
}

// resumeRun takes a run over and follows it to its end. id may be latest.
func resumeRun(ctx context.Context, a *app, id string, o *execution) (*report.Report, error) {
	r, err := runnerOf(a, o)
	if err != nil {
		return nil, err
	}
	r.prepare = func(ctx context.Context, s *access.Session) (err error) {
		r.id, err = findRun(ctx, s.Conn, id)
		return err
	}
	return r.Run(ctx)
}

// runnerOf is a runner for a run that is in the log already, wherever the
// command was started.
func runnerOf(a *app, o *execution) (*runner, error) {
	dir, err := a.workDir()
	if err != nil {
		return nil, err
	}
	workspace, store, err := o.Resolve(a.env, dir)
	if err != nil {
		return nil, err
	}
	return &runner{app: a, options: o, workspace: workspace, storeDir: store, progress: progressOf(a, nil)}, nil
}

// takeOver waits until no orchestrator decides for the run, and takes the right to.
func (r *runner) takeOver(ctx context.Context, s *access.Session) (*kv.RunLease, error) {
	rep, err := client.New(s.Conn).Show(ctx, r.id)
	if errors.Is(err, broker.ErrNotFound) {
		return nil, noRunError(r.id)
	}
	if err != nil {
		return nil, explainUnreadable(s.Conn, r.id, err)
	}
	if rep.Status != report.RunRunning {
		return nil, exit.NotFoundf("run %s has ended already: it %s", r.id, ended(rep.Status))
	}
	r.pipeline = rep.Pipeline
	if err := mayListen(ctx, r, s); err != nil {
		return nil, err
	}
	leases, err := kv.OpenLeases(ctx, s.Conn.Conn)
	if err != nil {
		return nil, err
	}
	holder := "of unknown name"
	if lease, err := leases.Holder(ctx, string(r.id)); err == nil {
		holder = lease.Holder
		r.progress.Note("%s may still decide for run %s; waiting until its lease ends", holder, r.id)
	}
	err = leases.AwaitFree(ctx, string(r.id))
	if err == nil {
		err = r.app.sessions.ExplainKey(r.id, orchestrator.CheckKey(ctx, s.Conn, r.id))
	}
	var lease *kv.RunLease
	if err == nil {
		lease, err = orchestrator.Acquire(ctx, s.Conn, r.id, r.name)
	}
	if errors.Is(err, kv.ErrHeld) {
		return nil, exit.NotFoundf("run %s has a live orchestrator, %s: `orchestrator runs wait %s` follows it", r.id, holder, r.id)
	}
	if err == nil {
		r.progress.Note("taking run %s over", r.id)
	}
	return lease, err
}

// mayListen refuses to let workers join a run that took no files along: they would
// find none.
func mayListen(ctx context.Context, r *runner, s *access.Session) error {
	if r.options.Listen == "" {
		return nil
	}
	spec, err := client.New(s.Conn).Spec(ctx, r.id)
	if err == nil && spec.Workspace == nil {
		err = exit.Usagef("run %s began in the workspace and took no snapshot of it, so workers that join would find no files: resume it without --listen,\n"+
			"or end it (`orchestrator runs cancel %s`) and repeat it with `orchestrator runs retry %s --listen ADDR`, which takes one", r.id, r.id, r.id)
	}
	return err
}

// ended is how a run ended, for a sentence.
func ended(s report.RunStatus) string {
	if s == report.RunCancelled {
		return "was cancelled"
	}
	return string(s)
}

func noRunError(run jobs.RunID) error {
	return exit.NotFoundf("there is no run %s here; `orchestrator runs list` shows those that are", run)
}
