package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/redact"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

const resumeWorkspace = "the directory in which modules run without a server, and whose runs are looked at (default: the git work tree around the working directory, else that directory)"

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
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.prepare(cmd, args, between(1, 1, "resume RUN"), func() []string { return o.faults(a) }); err != nil {
			return err
		}
		r, err := runnerOf(a, o)
		if err != nil {
			return err
		}
		r.prepare = func(ctx context.Context, s *access.Session) (err error) {
			r.id, err = findRun(ctx, s.Conn, args[0])
			return err
		}
		_, err = r.Run(cmd.Context())
		return err
	}
	return cmd
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
	leases, err := kv.OpenLeases(ctx, s.Conn.Conn)
	if err != nil {
		return nil, err
	}
	who := "one whose name its lease does not tell"
	if holder, err := leases.Holder(ctx, string(r.id)); err == nil {
		who = holder.Holder
		r.progress.Note("%s may still decide for run %s; waiting until its lease ends", who, r.id)
	}
	err = leases.AwaitFree(ctx, string(r.id))
	var lease *kv.RunLease
	if err == nil {
		lease, err = orchestrator.Acquire(ctx, s.Conn, r.id, r.name)
	}
	if errors.Is(err, kv.ErrHeld) {
		return nil, exit.NotFoundf("run %s has an orchestrator that lives, %s: `orchestrator runs wait %s` follows it", r.id, who, r.id)
	}
	if err == nil {
		r.progress.Note("taking run %s over", r.id)
	}
	return lease, err
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

func runsRetryCommand(a *app, p *store.Location) *cobra.Command {
	o := &execution{}
	id, from, detach := "", "", false
	var params []settings.Pair
	cmd := &cobra.Command{
		Use: "retry RUN [MODULE...]", Short: "Run again what of a run has not succeeded, and what follows it", ValidArgsFunction: completeRetry(a, p),
		Long: `Run again what of a run has not succeeded, and what follows it.

A new run with the pipeline, parameters and variables of the old one. Modules
that have succeeded keep their results, unless they follow one that has not. It
is carried out here, as by run, or handed over with --detach.

With modules or families, these run again and what followed them in the run,
also when they had succeeded or had not been selected; what they need and has no
result runs before them. With --from start nothing keeps its results, and --param
gives parameters other values: the others keep theirs, and the selection of the
old run stays. The run holds the text of its file for this; where a Go program
defines the pipeline, that program must be asked.`,
	}
	fs := cmd.Flags()
	settings.TextFlag(fs, &from, "from", "", "failed|start", "failed", "failed keeps the results of what has succeeded, start keeps none")
	settings.PairsFlag(fs, &params, "param", "with --from start: another value for a parameter (repeatable)")
	settings.TextFlag(fs, &id, "run-id", "", "ID", "", "name the new run: letters, digits, _ and -, at most 64 (default: from the time)")
	settings.SwitchFlag(fs, &detach, "detach", "", "hand the new run to an orchestrator that serves, print its id, and leave")
	o.defineCarrying(fs)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		faults := func() []string {
			return slices.Concat(fromFaults(a, from), retryParamFaults(a, from), idFaults(a, id), detachFaults(a, detach), o.faults(a))
		}
		if err := a.prepare(cmd, args, between(1, 1<<20, "runs retry RUN [MODULE...]"), faults); err != nil {
			return err
		}
		o.Location = *p
		r, err := runnerOf(a, o)
		if err != nil {
			return err
		}
		r.id = jobs.RunID(id)
		r.prepare = func(ctx context.Context, s *access.Session) error {
			return r.again(ctx, s, args[0], client.Redo{Modules: args[1:], Start: from == "start"}, retryParams(a, params))
		}
		if detach {
			return detachRetry(cmd.Context(), a, r)
		}
		_, err = r.Run(cmd.Context())
		return err
	}
	return cmd
}

func fromFaults(a *app, from string) (faults []string) {
	if from != "failed" && from != "start" {
		faults = append(faults, fmt.Sprintf("--from%s: %q is not one of failed, start", a.bind.FromOf("from"), from))
	}
	return faults
}

func retryParamFaults(a *app, from string) []string {
	if a.bind.Origin["param"] != "--param" || from == "start" {
		return nil
	}
	return []string{"--param gives other parameters to a run that begins from its start: add --from start"}
}

// retryParams are those of the command line. Values in the environment and the
// configuration file are for new runs: here the old run has its own.
func retryParams(a *app, params []settings.Pair) []settings.Pair {
	if a.bind.Origin["param"] != "--param" {
		return nil
	}
	return params
}

// again builds the specification of a run that repeats another.
func (r *runner) again(ctx context.Context, s *access.Session, old string, redo client.Redo, params []settings.Pair) error {
	run, err := findRun(ctx, s.Conn, old)
	if err != nil {
		return err
	}
	if len(params) > 0 {
		redo.Bind = func(spec *jobs.Spec) (*pipeline.Pipeline, *jobs.Origin, error) {
			return rebind(r.app, run, spec, params)
		}
	}
	spec, err := client.New(s.Conn).Retry(ctx, run, redo)
	if unknown, ok := errors.AsType[*client.UnknownModuleError](err); ok {
		return exit.NotFoundf("%w%s", err, phrase.DidYouMean(unknown.Module, unknown.Known))
	}
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return noRunError(run)
	case errors.Is(err, client.ErrRunning):
		return exit.NotFoundf("run %s has not ended: there is nothing to run again yet", run)
	case errors.Is(err, client.ErrNothing):
		return exit.NotFoundf("all of run %s has succeeded: there is nothing to run again", run)
	case err != nil:
		return err
	}
	if r.id == "" {
		r.id = newRunID(time.Now())
	}
	spec.Run, spec.StartedBy, spec.Commit = r.id, startedBy(r.app), gitHead(ctx, r.workspace)
	r.spec, r.pipeline = spec, spec.Pipeline.Name
	r.progress.Note("run %s runs %s of run %s again%s, and keeps %s", r.id, redoneText(redo), run, paramsText(params), phrase.Count(len(spec.Kept), "module"))
	return nil
}

// paramsText names parameters without their values, which may be secret.
func paramsText(params []settings.Pair) string {
	if len(params) == 0 {
		return ""
	}
	return " with another " + strings.Join(slices.Sorted(maps.Keys(settings.PairMap(params))), ", ")
}

// redoneText reports what is done again.
func redoneText(redo client.Redo) string {
	switch {
	case len(redo.Modules) > 0:
		return strings.Join(redo.Modules, ", ") + " and what follows"
	case redo.Start:
		return "everything"
	}
	return "what has not succeeded"
}

// detach hands a run to an orchestrator that serves and prints its id.
func detachRun(ctx context.Context, a *app, spec *jobs.Spec, storeDir string) error {
	ctx, stop := a.interruptible(ctx)
	defer stop()
	s, err := openServing(ctx, a, storeDir)
	if err != nil {
		return err
	}
	defer s.Close()
	return handOver(ctx, a, s, spec)
}

func detachRetry(ctx context.Context, a *app, r *runner) error {
	defer r.progress.Close()
	ctx, stop := a.interruptible(ctx)
	defer stop()
	s, err := openServing(ctx, a, r.storeDir)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := r.prepare(ctx, s); err != nil {
		return err
	}
	return handOver(ctx, a, s, r.spec)
}

func handOver(ctx context.Context, a *app, s *access.Session, spec *jobs.Spec) error {
	if err := submitSpec(ctx, a, s, spec); err != nil {
		return err
	}
	if err := awaitTaken(ctx, a, s.Conn, spec.Run); err != nil {
		return err
	}
	return a.emit(struct {
		Run jobs.RunID `json:"run"`
	}{spec.Run}, func(w io.Writer) { console.Writeln(w, spec.Run) }, func(w io.Writer) { console.Writeln(w, spec.Run) })
}

// submit stores a run. An id that is known is answered with its run, if that
// is the run that is to be submitted: a submission may be repeated.
func submitSpec(ctx context.Context, a *app, s *access.Session, spec *jobs.Spec) error {
	err := client.New(s.Conn).Submit(ctx, spec)
	if !errors.Is(err, client.ErrExists) {
		if err != nil {
			err = fmt.Errorf("submit run %s: %w", spec.Run, err)
		}
		return err
	}
	err = client.New(s.Conn).Known(ctx, spec)
	switch {
	case err == nil:
		console.Writef(a.Stderr, "run %s exists already, and is not submitted again\n", spec.Run)
		return nil
	case errors.Is(err, client.ErrOther):
		return exit.NotFoundf("run %s exists already, and %w: choose another --run-id, or leave it out", spec.Run, err)
	case errors.As(err, new(*broker.DroppedError)):
		return exit.NotFoundf("run %s exists already, and cannot be compared with this one: %w\nchoose another --run-id, or leave it out", spec.Run, err)
	}
	return fmt.Errorf("compare with run %s, which exists already: %w", spec.Run, err)
}

// takenWithin is how long orchestrators that serve may take to take a run.
// One that has lost its connection needs some seconds after it is back.
const takenWithin = 15 * time.Second

// awaitTaken waits until an orchestrator has taken a run that was submitted,
// or it is clear why not yet. A run that no serving process takes is
// cancelled: the caller never gets the id of a run that does not start.
func awaitTaken(ctx context.Context, a *app, c *broker.Conn, run jobs.RunID) error {
	waiting, stop := context.WithTimeout(ctx, takenWithin)
	defer stop()
	how, err := client.New(c).AwaitTaken(waiting, run)
	switch {
	case err == nil && how == client.Unserved:
		console.Writeln(a.Stderr, "no orchestrator serves this NATS at the moment: the run begins when one does (`orchestrator serve`)")
	case err == nil && how == client.Queued:
		console.Writeln(a.Stderr, "the orchestrator that serves decides for as many runs as it may (--max-runs): the run waits its turn")
	case ctx.Err() != nil:
		console.Writef(a.Stderr, "run %s is submitted, and starts when an orchestrator takes it: `orchestrator runs cancel %s` cancels it\n", run, run)
		return context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded):
		return withdrawRun(ctx, a, c, run)
	}
	return err
}

// withdraw cancels a run that no orchestrator takes.
func withdrawRun(ctx context.Context, a *app, c *broker.Conn, run jobs.RunID) error {
	fate := "the run is cancelled"
	err := client.New(c).Cancel(ctx, run, jobs.Cancel{ID: ident.New(), By: startedBy(a), Reason: "no orchestrator took the run over"})
	if err != nil {
		fate = fmt.Sprintf("the run could not be cancelled (%v)", err)
	}
	return exit.Infrastructuref("run %s did not start: an orchestrator serves %s, and took no run over within %s; %s.\n"+
		"Look into the log of the orchestrator, start it again, and submit again", run, redact.URLs(c.URL()), jobs.ShortDuration(takenWithin), fate)
}

// openServing connects to where an orchestrator serves: the server that the
// settings name, else the process that serves the workspace's store.
func openServing(ctx context.Context, a *app, storeDir string) (*access.Session, error) {
	if t, remote, err := a.nats.Named(); err != nil {
		return nil, err
	} else if remote {
		return a.sessions.OpenRemote(ctx, t)
	}
	if err := store.OurTemporary(storeDir); err != nil {
		return nil, err
	}
	h, ok := store.ReadHolder(storeDir)
	if !ok || !h.Serves {
		return nil, exit.Usagef("--detach hands the run to an orchestrator that serves, and none serves this workspace:\n" +
			"start `orchestrator dev` here, or name a NATS server (--server) on which `orchestrator serve` runs")
	}
	c, err := a.sessions.Join(ctx, h, a.set.ConnectTimeout)
	if err != nil {
		return nil, err
	}
	return &access.Session{Conn: c}, nil
}
