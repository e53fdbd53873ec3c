package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/atomicfile"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/flags"
	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/progress"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/shown"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// runOptions are the flags of `run`.
type runOptions struct {
	pipelineFlags
	execution
	files     filesOptions
	cache     flags.Cache
	env       []settings.Pair
	envFiles  []string
	fromFiles []settings.Pair // the variables in envFiles
	labels    []settings.Pair
	id        string
	detach    bool
}

// execution are the flags of every command that executes a run in this process.
type execution struct {
	store.Location
	flags.Offers
	maxParallel int
	local       int
	access.ListenOptions
	secrets    flags.Secrets
	report     string
	workerTTL  time.Duration
	reconnect  time.Duration
	syncAlways bool
}

func (o *execution) define(fs *pflag.FlagSet, workspace string) {
	defineLocation(fs, &o.Location, workspace)
	o.defineCarrying(fs)
}

// defineCarrying defines all flags but those of the location.
func (o *execution) defineCarrying(fs *pflag.FlagSet) {
	settings.CountFlag(fs, &o.maxParallel, "max-parallel", "", 0, 1, "slots of the worker inside this process (default: as many as cores)")
	settings.CountFlag(fs, &o.local, "local", "", 0, 0, "with a NATS server, also work here with so many slots")
	o.ListenOptions.Define(fs, "", "let workers join the embedded server at this address, with a token, and beyond this machine with TLS")
	o.DefineInside(fs)
	syncFlag(fs, &o.syncAlways)
	o.secrets.Define(fs)
	settings.TextFlag(fs, &o.report, "report", "", "FILE", "", "write the report, JSON, to this file, however the run ends")
	settings.TimeFlag(fs, &o.workerTTL, "worker-ttl", 3*time.Second, time.Second, 10*time.Minute, "a worker without a heartbeat for this time is lost")
	settings.TimeFlag(fs, &o.reconnect, "reconnect-timeout", 10*time.Minute, 0, 0, "give up when NATS cannot be reached for this time")
}

// syncFlag defines --sync-always, which configures the server inside this process.
// Other servers have their own configuration.
func syncFlag(fs *pflag.FlagSet, to *bool) {
	settings.SwitchFlag(fs, to, "sync-always", "", "have the embedded server write to disk before it acknowledges: survives a power cut, and is slower")
}

// faults returns the faults of the flags' values.
func (o *execution) faults(a *app) (faults []string) {
	if o.report != "" {
		if err := atomicfile.Check(a.path(o.report), o.report); err != nil {
			faults = append(faults, fmt.Sprintf("--report%s: %v", a.bind.FromOf("report"), err))
		}
	}
	return slices.Concat(faults, o.ListenOptions.Faults(a.bind), o.NeedsListen(a.bind), offerFaults(&o.Offers), o.secrets.Faults(a.path, a.env))
}

func runCommand(a *app, o *runOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Run a pipeline and follow it to its end",
		Long: `Run a pipeline and follow it to its end.

Without a NATS server (--server, --context, NATS_URL …) the modules run in the
workspace, on a worker inside this process. With one they run on the workers
that are connected to it. With --detach the run is handed to an orchestrator
that serves (serve, dev), which runs it once its id is printed. When the id exists
already, its run is the answer if that has the same pipeline, parameters and
environment; else the id is taken.

The first interrupt cancels the run in order, so that always-run modules still
run; the second ends those too; the third leaves immediately. The same signal twice
within a second counts once. Closing the terminal is an interrupt; closing the
pipe that reads the output does not end the run.

Exit codes: 0 succeeded, 1 failed, 2 usage or pipeline error, 3 infrastructure,
4 the deadline or no capable worker ended it, 5 the run id is taken,
129, 130 and 143 cancelled by HUP, INT and TERM.`,
		ValidArgsFunction: completeFile,
	}
	fs := cmd.Flags()
	o.pipelineFlags.define(fs)
	o.execution.define(fs, "the directory in which modules run (default: the git work tree that holds the file, else the file's directory)")
	settings.PairsFlag(fs, &o.env, "env", "set a variable for every module (repeatable)")
	settings.ListFlag(fs, &o.envFiles, "env-file", "FILE", false, "set the variables in this file of KEY=VALUE lines; --env wins (repeatable)")
	settings.PairsFlag(fs, &o.labels, "label", "put a label on the run (repeatable)")
	settings.TextFlag(fs, &o.id, "run-id", "", "ID", "", "name the run: letters, digits, _ and -, at most 64 (default: from the time)")
	settings.SwitchFlag(fs, &o.detach, "detach", "", "hand the run to an orchestrator that serves, print its id, and leave")
	flags.SigningKey(fs, &a.sessions.KeyFiles)
	o.files.define(fs)
	o.cache.Define(fs)
	completeSelection(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.prepare(cmd, args, between(1, 1, "run FILE"), func() []string { return o.faults(a) }); err != nil {
			return err
		}
		_, err := runPipeline(cmd.Context(), a, args[0], o)
		return err
	}
	return cmd
}

// run loads the pipeline and hands it to a runner.
func runPipeline(ctx context.Context, a *app, file string, o *runOptions) (*report.Report, error) {
	if a.own != nil {
		a.own.isolated = o.files.isolated
	}
	p, origin, err := loadPipeline(a, file, o.pipelineFlags)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(a.path(file))
	if err != nil {
		return nil, err
	}
	workspace, store, err := o.Resolve(a.env, filepath.Dir(abs))
	if err != nil {
		return nil, err
	}
	spec := o.spec(ctx, a, p, workspace)
	spec.Origin = origin
	t := &taker{filesOptions: o.files, workspace: workspace}
	if a.own == nil {
		t.file = abs
	}
	if o.detach {
		a.warn(p.Warnings)
		t.note = func(line string) { console.Writeln(a.Stderr, line) }
		t.warn = func(text string) { console.Writeln(a.Stderr, "warning: "+text) }
		return nil, detachRun(ctx, a, spec, store, t)
	}
	r := &runner{
		app: a, options: &o.execution, workspace: workspace, storeDir: store, id: spec.Run, pipeline: p.Name, spec: spec,
		progress: progressOf(a, p), repository: o.files.repository,
	}
	t.tell(r)
	r.prepare = func(ctx context.Context, s *access.Session) error {
		return t.take(ctx, s.Conn, spec, s.Server == nil || o.Listen != "")
	}
	for _, w := range p.Warnings {
		r.progress.Logger().Warn(w.String())
	}
	return r.Run(ctx)
}

// faults returns the faults of the flags' values taken together, and of the
// files of variables, which it reads.
func (o *runOptions) faults(a *app) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, p := range o.env {
		if err := checkVariable(p.Key); err != nil {
			fault("--env%s: %v", a.bind.FromOf("env"), err)
		}
	}
	for _, file := range o.envFiles {
		pairs, more := readEnvFile(a.path(file))
		o.fromFiles, faults = append(o.fromFiles, pairs...), append(faults, more...)
	}
	return slices.Concat(faults, idFaults(a, o.id), detachFaults(a, o.detach), o.cache.Faults(a.bind), o.execution.faults(a))
}

// idFaults returns the faults of an id that the user has chosen.
func idFaults(a *app, id string) (faults []string) {
	if id != "" && !jobs.ValidID(id) {
		faults = append(faults, fmt.Sprintf("--run-id%s: %q is not 1 to 64 letters, digits, _ and -", a.bind.FromOf("run-id"), id))
	}
	if id == latest {
		faults = append(faults, fmt.Sprintf("--run-id%s: %q stands for the newest run", a.bind.FromOf("run-id"), id))
	}
	return faults
}

// detachFaults are flags that mean nothing for a run that is handed over.
func detachFaults(a *app, detach bool) (faults []string) {
	if !detach {
		return nil
	}
	for _, flag := range slices.Concat(flags.OfferNames(), flags.SecretNames(), []string{"max-parallel", "local", "listen", "report"}) {
		if a.bind.Origin[flag] != "" {
			faults = append(faults, fmt.Sprintf("--%s%s is for a run that is carried out here, and --detach hands it over", flag, a.bind.FromOf(flag)))
		}
	}
	return faults
}

// spec is the run as it is submitted.
func (o *runOptions) spec(ctx context.Context, a *app, p *pipeline.Pipeline, workspace string) *jobs.Spec {
	spec := &jobs.Spec{
		Run: jobs.RunID(o.id), Pipeline: p, Labels: settings.PairMap(o.labels),
		StartedBy: startedBy(a), Commit: gitHead(ctx, workspace), Trace: a.env["TRACEPARENT"], Cache: o.cache.Policy(),
	}
	if spec.Run == "" {
		spec.Run = newRunID(time.Now())
	}
	spec.Env = appendVars(appendVars(nil, o.fromFiles), o.env)
	p.Warnings = append(p.Warnings, pipeline.DoubtVariables(spec.Env)...)
	return spec
}

func appendVars(env []pipeline.KeyValue, pairs []settings.Pair) []pipeline.KeyValue {
	for _, p := range pairs {
		env = append(env, pipeline.KeyValue{Key: p.Key, Value: p.Value})
	}
	return env
}

// newRunID is an id that sorts by time, can be read, and is in all
// likelihood unique.
func newRunID(now time.Time) jobs.RunID {
	return jobs.RunID(now.UTC().Format("20060102-150405") + "-" + strings.ToLower(rand.Text()[:5]))
}

func startedBy(a *app) string {
	name := cmp.Or(a.env["USER"], a.env["LOGNAME"], a.env["USERNAME"])
	if name == "" {
		if u, err := user.Current(); err == nil {
			name = u.Username
		}
	}
	return phrase.OrDash(name) + "@" + ident.Host()
}

// gitHead is the commit of a work tree; "" = none.
func gitHead(ctx context.Context, dir string) string {
	ctx, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	out, err := exec.CommandContext(ctx, "git", "-C", dir, "rev-parse", "--verify", "--quiet", "HEAD").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// slots is how many slots the worker inside this process has.
func (o *execution) slots() int {
	if o.maxParallel > 0 {
		return o.maxParallel
	}
	return machine.CPUs()
}

// writeReport writes the report's file, all of it or none.
func writeReport(path string, r *report.Report) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, append(text, '\n'), 0o644)
}

// deliver writes the report's file and stdout, as far as they are wanted.
func (r *runner) deliver(rep *report.Report) error {
	var err error
	if r.options.report != "" {
		if err = writeReport(r.app.path(r.options.report), rep); err != nil {
			err = exit.Infrastructuref("--report: %w", err)
		}
	}
	return errors.Join(err, emitReport(r.app, rep))
}

// emitReport writes the report of a run that was followed to stdout, if -o asks for it.
func emitReport(a *app, rep *report.Report) error {
	if a.set.Output == "" {
		return nil
	}
	return a.emit(rep, func(w io.Writer) { progress.WriteSummary(w, shown.Report(rep), a.paint(w)) },
		func(w io.Writer) { console.Writeln(w, rep.Run) })
}
