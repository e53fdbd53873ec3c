package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/flags"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// retryOptions are the flags of `runs retry`.
type retryOptions struct {
	execution
	cache  flags.Cache
	id     string // of the new run; "" = from the time
	from   string // failed or start
	params []settings.Pair
	detach bool
}

func runsRetryCommand(a *app, p *store.Location) *cobra.Command {
	o := &retryOptions{}
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
	settings.TextFlag(fs, &o.from, "from", "", "failed|start", "failed", "failed keeps the results of what has succeeded, start keeps none")
	settings.PairsFlag(fs, &o.params, "param", "with --from start: another value for a parameter (repeatable)")
	settings.TextFlag(fs, &o.id, "run-id", "", "ID", "", "name the new run: letters, digits, _ and -, at most 64 (default: from the time)")
	settings.SwitchFlag(fs, &o.detach, "detach", "", "hand the new run to an orchestrator that serves, print its id, and leave")
	o.cache.Define(fs)
	o.defineCarrying(fs)
	flags.SigningKey(fs, &a.sessions.KeyFiles)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.prepare(cmd, args, between(1, 1<<20, "runs retry RUN [MODULE...]"), func() []string { return o.faults(a) }); err != nil {
			return err
		}
		o.Location = *p
		_, err := retryRun(cmd.Context(), a, args[0], args[1:], o)
		return err
	}
	return cmd
}

// retryRun repeats a run, or modules of it, in a new run, and follows that to its
// end. With --detach it hands the new run over, and returns no report. old may be latest.
func retryRun(ctx context.Context, a *app, old string, modules []string, o *retryOptions) (*report.Report, error) {
	r, err := runnerOf(a, &o.execution)
	if err != nil {
		return nil, err
	}
	r.id = jobs.RunID(o.id)
	r.prepare = func(ctx context.Context, s *access.Session) error {
		if err := r.repeat(ctx, s, old, client.Redo{Modules: modules, Start: o.from == "start"}, retryParams(a, o.params)); err != nil {
			return err
		}
		r.spec.Cache = o.cache.Policy()
		return takeLate(ctx, r, s)
	}
	if o.detach {
		return nil, detachRetry(ctx, a, r)
	}
	return r.Run(ctx)
}

// faults returns the faults of the flags' values.
func (o *retryOptions) faults(a *app) []string {
	return slices.Concat(fromFaults(a, o.from), retryParamFaults(a, o.from), idFaults(a, o.id), detachFaults(a, o.detach), o.cache.Faults(a.bind), o.execution.faults(a))
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

// repeat builds the specification of a run that repeats another.
func (r *runner) repeat(ctx context.Context, s *access.Session, old string, redo client.Redo, params []settings.Pair) error {
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
	case errors.Is(err, client.ErrExpired):
		return exit.NotFoundf("%w: they were kept as long as its log had to be; run the pipeline again", err)
	case err != nil:
		return err
	}
	if r.id == "" {
		r.id = newRunID(time.Now())
	}
	spec.Run, spec.StartedBy = r.id, startedBy(r.app)
	if spec.Workspace == nil { // else it is that of the snapshot
		spec.Commit = gitHead(ctx, r.workspace)
	}
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

// redoneText names the modules that run again.
func redoneText(redo client.Redo) string {
	switch {
	case len(redo.Modules) > 0:
		return strings.Join(redo.Modules, ", ") + " and what follows"
	case redo.Start:
		return "everything"
	}
	return "what has not succeeded"
}
