package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/connect"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/flags"
	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/redact"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/worker"
)

// serveOptions are the flags of `serve` and `dev`.
type serveOptions struct {
	store.Location
	flags.Offers // dev: of its worker
	name         string
	access.ListenOptions
	secrets    flags.Secrets
	maxRuns    int
	namespace  string   // of the cache, of every run; "" = as each run says
	from       []string // namespaces from which every run also reads, with namespace
	workerTTL  time.Duration
	keepRuns   time.Duration
	syncAlways bool

	maxParallel  int // dev: slots of its worker
	drainTimeout time.Duration
}

// devListen is the default address of dev's server: a worker without settings
// connects to it.
const devListen = "127.0.0.1:4222"

func (o *serveOptions) define(cmd *cobra.Command) {
	fs := cmd.Flags()
	defineLocation(fs, &o.Location, "whose store to use (default: the git work tree around the working directory, else that directory)")
	settings.TextFlag(fs, &o.name, "name", "", "NAME", "", "this orchestrator's name, unique among live ones (default: the host's name and a suffix)")
	syncFlag(fs, &o.syncAlways)
	o.secrets.Define(fs)
	flags.Namespace(fs, &o.namespace, "use this namespace of the cache for every run, whatever the run asks for")
	flags.CacheFrom(fs, &o.from, "with --cache-namespace: every run also uses results of these namespaces (repeatable)")
	settings.CountFlag(fs, &o.maxRuns, "max-runs", "", 64, 1, "decide for at most this many runs at a time; others wait")
	settings.TimeFlag(fs, &o.workerTTL, "worker-ttl", 3*time.Second, time.Second, 10*time.Minute, "a worker without a heartbeat for this time is lost (the first orchestrator on this NATS decides)")
	settings.TimeFlag(fs, &o.keepRuns, "keep-runs", orchestrator.DefaultKeep, 10*time.Minute, 0, "drop the log and output of a run this long after its end; without room, the oldest sooner")
}

func (o *serveOptions) faults(a *app) func() []string {
	return func() (faults []string) {
		if o.name != "" && !jobs.ValidID(o.name) {
			faults = append(faults, fmt.Sprintf("--name%s: %q is not 1 to 64 letters, digits, _ and -", a.bind.FromOf("name"), o.name))
		}
		return slices.Concat(faults, flags.NamespaceFaults(a.bind, o.namespace), flags.CacheFromFaults(a.bind, o.from), o.ListenOptions.Faults(a.bind), offerFaults(&o.Offers), o.secrets.Faults(a.path, a.env))
	}
}

func serveCommand(a *app) *cobra.Command {
	o := &serveOptions{}
	cmd := &cobra.Command{
		Use: "serve", Short: "Orchestrate the runs that others submit, and those whose orchestrator died",
		Long: `Orchestrate the runs that others submit (run --detach), and those whose
orchestrator died. Any number may serve one NATS: one of them decides for each
run, and within seconds of its death another one does.

With --listen, --store or --server embedded it embeds the NATS server itself, which
requires a token and prints the command with which a worker joins, on
the workspace's store. Otherwise it serves the one that is configured, or
nats://127.0.0.1:4222, and retries while that cannot be reached.

The first interrupt hands the runs to other orchestrators and leaves. Workers
continue what they execute.

Exit codes: 0 it left after a signal, 2 usage, 3 NATS denies or fails, 5 a live
orchestrator has this name.`,
	}
	o.define(cmd)
	flags.SigningKey(cmd.Flags(), &a.sessions.KeyFiles)
	o.ListenOptions.Define(cmd.Flags(), "", "embed the NATS server, and let clients and workers join it at this address, with a token, and beyond this machine with TLS")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.prepare(cmd, args, between(0, 0, "serve"), o.faults(a)); err != nil {
			return err
		}
		return runServe(cmd.Context(), a, o)
	}
	return cmd
}

func devCommand(a *app) *cobra.Command {
	o := &serveOptions{}
	cmd := &cobra.Command{
		Use: "dev", Short: "Serve this workspace: a NATS server, an orchestrator and a worker in one process",
		Long: `Serve this workspace: a NATS server, an orchestrator and a worker in one
process, on the workspace's store. What is submitted here (run --detach) runs in
the workspace, and runs of an earlier dev continue. The server requires a
token, also of programs on this machine: those of the same user find it by
themselves, for others the command with which a worker joins is printed.

The first interrupt leaves: what runs is finished, or handed back after
--drain-timeout, and the runs go on with the next dev, serve or resume. The
second stops immediately. The same signal twice within a second counts once.`,
	}
	o.define(cmd)
	fs := cmd.Flags()
	flags.SigningKey(fs, &a.sessions.KeyFiles)
	o.ListenOptions.Define(fs, devListen, "where clients and workers join, with a token, and beyond this machine with TLS")
	settings.CountFlag(fs, &o.maxParallel, "max-parallel", "", 0, 1, "slots of the worker (default: as many as cores)")
	settings.TimeFlag(fs, &o.drainTimeout, "drain-timeout", 30*time.Second, 0, 0, "hand back what has not ended this long after the first interrupt")
	o.DefineInside(fs)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.prepare(cmd, args, between(0, 0, "dev"), o.faults(a)); err != nil {
			return err
		}
		return runDev(cmd.Context(), a, o)
	}
	return cmd
}

// runServe serves until a signal ends it.
func runServe(ctx context.Context, a *app, o *serveOptions) error {
	log := a.workerLogger()
	s := &service{
		app: a, log: log,
		open: func(ctx context.Context, lost context.CancelCauseFunc) (*access.Session, error) {
			return openServed(ctx, a, o, lost, log)
		},
		orchestrate: func(ctx context.Context, c *broker.Conn) error { return serveOn(ctx, c, o, log) },
	}
	return s.Run(ctx)
}

// openServed connects to the server that is to be served, or embeds it.
func openServed(ctx context.Context, a *app, o *serveOptions, lost context.CancelCauseFunc, log *slog.Logger) (*access.Session, error) {
	t, remote, err := a.nats.Named()
	if err != nil {
		return nil, err
	}
	embeds := o.Listen != "" || o.NoToken || o.NoTLS || o.syncAlways || a.bind.Origin["store"] != "" || a.set.Server == settings.Embedded
	switch {
	case remote && embeds:
		return nil, exit.Usagef("--listen, --store, --no-token, --no-tls and --sync-always are for a server inside this process, and %s names %s", t.Origin, t.Shown())
	case embeds:
		return embedServing(ctx, a, o, cmp.Or(o.Listen, devListen), lost, log)
	case !remote:
		if t, err = a.nats.Target(&a.set.Connection); err != nil {
			return nil, err
		}
		t.URL, t.Origin = connect.DefaultServer, "default"
	}
	timeout := time.Duration(0) // retries without end
	if a.bind.Origin["connect-timeout"] != "" {
		timeout = a.set.ConnectTimeout
	}
	c, err := a.sessions.Dial(ctx, t, timeout, log)
	if err != nil {
		return nil, err
	}
	log.Info("connected", "server", redact.URLs(c.URL()))
	return &access.Session{Conn: c}, nil
}

// embedServing embeds a server on the workspace's store for others to use.
func embedServing(ctx context.Context, a *app, o *serveOptions, listen string, lost context.CancelCauseFunc, log *slog.Logger) (*access.Session, error) {
	_, storeDir, err := o.resolveHere(a)
	if err != nil {
		return nil, err
	}
	st, err := store.HoldFree(ctx, storeDir)
	if err != nil {
		return nil, err
	}
	opened := o.ListenOptions
	opened.Listen, opened.Namespace = listen, o.namespace
	d, err := access.NewDoor(st, opened, store.StateDir(a.env))
	if err != nil {
		st.Close()
		return nil, err
	}
	s, err := a.sessions.Embed(ctx, st, access.Hosting{Door: d, As: access.RoleServe, Sync: o.syncAlways, Lost: lost}, log)
	if err != nil {
		return nil, err
	}
	log.Info("embedded NATS server", "url", redact.URLs(s.Server.URL()), "store", storeDir)
	for _, text := range d.Warnings() {
		log.Warn(text)
	}
	for _, text := range d.Instructions(ctx, workerCommandLine(a), s.Server.URL()) {
		log.Info(text)
	}
	return s, nil
}

// serveOn decides for runs until ctx ends.
func serveOn(ctx context.Context, c *broker.Conn, o *serveOptions, log *slog.Logger) error {
	name := cmp.Or(o.name, ident.OnHost())
	err := orchestrator.Serve(ctx, c, orchestrator.ServeConfig{
		Config:  orchestrator.Config{Name: name, Logger: log, WorkerTTL: o.workerTTL, Namespace: o.namespace, From: o.from, Secrets: o.secrets.Source()},
		MaxRuns: o.maxRuns, Retention: orchestrator.Retention{Keep: o.keepRuns},
		Began:   func() { log.Info("serving runs", "name", name) },
		Adopted: func(run jobs.RunID) { log.Info("run taken", "run", string(run)) },
		Left: func(run jobs.RunID, end jobs.End, err error) {
			switch {
			case err == nil:
				log.Info("run ended", "run", string(run), "status", string(end.Status), "reason", end.Error)
			case ctx.Err() != nil:
				log.Info("run given back", "run", string(run))
			case runlog.Unreadable(err):
				log.Error("run left: "+unreadableAdvice(c, run, err)+"; `orchestrator runs show "+string(run)+"` shows what is wrong", "run", string(run), "error", err)
			default:
				log.Error("run left", "run", string(run), "error", err)
			}
		},
	})
	if errors.Is(err, kv.ErrHeld) {
		return exit.NotFoundf("a live orchestrator is named %s already: choose another --name", name)
	}
	return err
}

// runDev serves the workspace until a signal ends it.
func runDev(ctx context.Context, a *app, o *serveOptions) error {
	if t, remote, err := a.nats.Named(); err != nil || remote {
		if err == nil {
			err = exit.Usagef("dev embeds its NATS server, and %s names %s: use serve and worker there", t.Origin, t.Shown())
		}
		return err
	}
	log := a.workerLogger()
	goFunctions, err := functions(a)
	if err != nil {
		return err
	}
	workspace, _, err := o.resolveHere(a)
	if err != nil {
		return err
	}
	cfg := worker.Config{
		Functions: goFunctions, Slots: o.slots(), Workspace: workspace, PassAll: true, DrainTimeout: o.drainTimeout,
		Version: version(), Logger: log, Secrets: o.secrets.Source(),
	}
	if cfg.Repository, err = repositoryOf(ctx, workspace, ""); err != nil {
		return err
	}
	applyOffers(&o.Offers, &cfg)
	s := &service{
		app: a, log: log, worker: &cfg, workerTTL: o.workerTTL,
		open: func(ctx context.Context, lost context.CancelCauseFunc) (*access.Session, error) {
			return embedServing(ctx, a, o, freeListen(a, o, log), lost, log)
		},
		orchestrate: func(ctx context.Context, c *broker.Conn) error { return serveOn(ctx, c, o, log) },
	}
	return s.Run(ctx)
}

func (o *serveOptions) slots() int {
	if o.maxParallel > 0 {
		return o.maxParallel
	}
	return machine.CPUs()
}

// resolveHere is resolve for where the command was started.
func (o *serveOptions) resolveHere(a *app) (workspace, store string, err error) {
	dir, err := a.workDir()
	if err != nil {
		return "", "", err
	}
	return o.Resolve(a.env, dir)
}

// freeListen is the address for dev's server. Where the usual one is taken, by
// another dev for example, any other will do: the store reports which.
func freeListen(a *app, o *serveOptions, log *slog.Logger) string {
	if a.bind.Origin["listen"] != "" || access.AddressFree(o.Listen) {
		return o.Listen
	}
	log.Warn("another process listens there, so the NATS server takes a free port", "address", o.Listen)
	return "127.0.0.1:0"
}
