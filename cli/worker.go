package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/checkout"
	"github.com/modpipe/modpipe/internal/connect"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/flags"
	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/protect"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/tables"
	"github.com/modpipe/modpipe/worker"
)

// workerOptions are the flags of `worker`.
type workerOptions struct {
	flags.Offers
	group        string
	name         string
	maxParallel  int
	workspace    string
	passEnv      []string
	drainTimeout time.Duration
	exitWhenIdle bool
	workerTTL    time.Duration
	repository   string
	filesDir     string
	filesMax     int64
	sync         bool
	secrets      flags.Secrets
}

func workerCommand(a *app) *cobra.Command {
	root := a.root("")
	makeWorker(a, root, &workerOptions{})
	return root
}

// makeWorker turns root into the worker's command.
func makeWorker(a *app, root *cobra.Command, o *workerOptions) {
	root.Short = "Run the modules of pipelines, for orchestrators that reach the same NATS"
	root.Long = root.Short + `.

The first interrupt drains: nothing new is taken, what runs is finished, and what
does not end within --drain-timeout goes to another worker. The second stops immediately.
The same signal twice within a second counts once.

Exit codes: 0 drained, 2 usage, 3 NATS denies or fails, 5 a live worker has this
name, 130 and 143 stopped immediately by INT and TERM.`
	fs := root.Flags()
	settings.TextFlag(fs, &o.group, "group", "", "GROUP", "", "the group whose credentials this worker has; it is then named GROUP.NAME (default: none)")
	settings.TextFlag(fs, &o.name, "name", "", "NAME", "", "the worker's name, unique among the live workers of its group (default: the host's name and a suffix)")
	settings.CountFlag(fs, &o.maxParallel, "max-parallel", "", 0, 1, "slots (default: as many as cores)")
	settings.TextFlag(fs, &o.workspace, "workspace", "", "DIR", "", "run modules in this directory, without the files that a run takes along (default: a fresh directory for each attempt, with them)")
	repositoryFlag(fs, &o.repository)
	settings.SwitchFlag(fs, &o.sync, "workspace-sync", "", "bring the files in --workspace to those of each run: overwrites and removes all files there that git does not ignore")
	settings.TextFlag(fs, &o.filesDir, "files-dir", "", "DIR", "", "where this machine keeps the files of runs (default: modpipe/files in the user's cache directory)")
	settings.SizeFlag(fs, &o.filesMax, "files-max", "keep at most this many bytes of files; what was not used for longest goes first (default: 10Gi)")
	settings.ListFlag(fs, &o.passEnv, "pass-env", "NAMES", true, "variables of this process, or patterns such as AWS_*, that modules may ask for")
	settings.TimeFlag(fs, &o.drainTimeout, "drain-timeout", 30*time.Second, 0, 0, "hand back what has not ended this long after the first interrupt")
	settings.SwitchFlag(fs, &o.exitWhenIdle, "exit-when-idle", "", "leave when there is nothing to do")
	settings.TimeFlag(fs, &o.workerTTL, "worker-ttl", 0, time.Second, 10*time.Minute, "warn when a silent worker is lost after another time: the orchestrator that starts first on this NATS sets it")
	o.Offers.Define(fs)
	o.secrets.DefineWorker(fs)
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		if err := a.prepare(cmd, args, nil, o.faults(a)); err != nil {
			return err
		}
		return runWorker(cmd.Context(), a, o)
	}
}

// faults returns the faults of the flags' values.
func (o *workerOptions) faults(a *app) func() []string {
	return func() []string { return append(o.ownFaults(), o.secrets.Faults(a.path, a.env)...) }
}

func (o *workerOptions) ownFaults() (faults []string) {
	faults = offerFaults(&o.Offers)
	if o.workspace != "" {
		if info, err := os.Stat(o.workspace); err != nil || !info.IsDir() {
			faults = append(faults, fmt.Sprintf("--workspace: %s is not a directory", o.workspace))
		}
	}
	if o.sync && o.workspace == "" {
		faults = append(faults, "--workspace-sync: needs --workspace, the directory to bring to the files of runs")
	}
	return append(faults, configFaults(worker.Config{Group: o.group, Name: o.name, PassEnv: o.passEnv})...)
}

// config is the worker's configuration; o has no faults.
func (o *workerOptions) config(ctx context.Context, log *slog.Logger) (worker.Config, error) {
	workspace := o.workspace
	if workspace != "" {
		abs, err := filepath.Abs(workspace)
		if err != nil {
			return worker.Config{}, err
		}
		workspace = abs
	}
	cfg := worker.Config{
		Group: o.group, Name: o.name, Slots: cmp.Or(o.maxParallel, machine.CPUs()), Workspace: workspace,
		PassEnv: o.passEnv, WorkerTTL: o.workerTTL, DrainTimeout: o.drainTimeout, ExitWhenIdle: o.exitWhenIdle,
		Version: version(), Logger: log, Secrets: o.secrets.Source(),
	}
	var err error
	if cfg.Repository, err = repositoryOf(ctx, workspace, o.repository); err != nil {
		return worker.Config{}, err
	}
	applyOffers(&o.Offers, &cfg)
	return cfg, nil
}

// runWorker works until a signal ends it.
func runWorker(ctx context.Context, a *app, o *workerOptions) error {
	log := a.workerLogger()
	if missing := protect.Missing(); missing != "" {
		log.Warn("a protection is missing: " + missing)
	}
	cfg, err := o.config(ctx, log)
	if err != nil {
		return err
	}
	if cfg.Functions, err = functions(a); err != nil {
		return err
	}
	t, err := workerTarget(a)
	if err != nil {
		return err
	}
	s := &service{
		app: a, log: log, worker: &cfg, filesDir: o.filesDir, filesMax: o.filesMax,
		open: func(ctx context.Context, _ context.CancelCauseFunc) (*access.Session, error) {
			c, err := a.sessions.DialWorker(ctx, t, a.set.ConnectTimeout, log)
			return &access.Session{Conn: c}, err
		},
	}
	if cfg.Workspace != "" {
		if s.checkout, err = checkout.New(ctx, cfg.Workspace, o.sync); err != nil {
			return exit.Usagef("--workspace: %w", err)
		}
	}
	return s.Run(ctx)
}

// workerTarget is the server to work for.
func workerTarget(a *app) (connect.Target, error) {
	a.nats.Worker = true
	if a.set.Server == settings.Embedded {
		return connect.Target{}, exit.Usagef("--server%s: a worker embeds no server; name one", a.bind.FromOf("server"))
	}
	t, ok, err := a.nats.Named()
	if err != nil || ok {
		return t, err
	}
	t, err = a.nats.Target(&a.set.Connection)
	t.URL, t.Origin = connect.DefaultServer, "default"
	return t, err
}

func (a *app) workerLogger() *slog.Logger {
	if a.jsonErr {
		return a.kept(console.NewJSONLogger(a.Stderr))
	}
	level := slog.LevelInfo
	if a.set.Progress == "quiet" {
		level = slog.LevelError
	}
	return a.kept(console.NewLogger(a.Stderr, a.paint(a.Stderr), level))
}

func capabilitiesCommand(a *app) *cobra.Command {
	o := &workerOptions{}
	cmd := &cobra.Command{Use: "capabilities", Short: "Print what this machine would offer"}
	o.Offers.Define(cmd.Flags())
	o.secrets.DefineWorker(cmd.Flags())
	cmd.RunE = a.do(between(0, 0, "capabilities"), func(ctx context.Context, _ []string) error {
		cfg, err := o.config(ctx, a.quietLogger())
		if err != nil {
			return err
		}
		if cfg.Functions, err = functions(a); err != nil {
			return err
		}
		c, err := worker.Detect(ctx, cfg)
		if err != nil {
			return err
		}
		shown := tables.NewCapabilities(c)
		return a.emit(shown, func(w io.Writer) { shown.Write(w) }, func(w io.Writer) {
			for _, t := range slices.Sorted(maps.Keys(shown.Tools)) {
				console.Writeln(w, t)
			}
		})
	}, o.faults(a))
	return cmd
}
