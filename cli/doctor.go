package cli

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/doctor"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/flags"
	"github.com/modpipe/modpipe/internal/roles"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/worker"
)

func doctorCommand(a *app) *cobra.Command {
	where := &store.Location{}
	cmd := &cobra.Command{
		Use: "doctor [FILE]", Short: "Check whether runs would work here, and what to do if not", ValidArgsFunction: completeFile,
		Long: "Check whether runs would work here: the NATS server, its limits and permissions, clocks, the store,\n" +
			"workers, tools. With FILE, also whether a worker offers what its modules require. Nothing is changed on the\n" +
			"server. Without a server, one is started on a temporary store.\n\n" +
			"Exit codes: 0 without a fault (a warning is no fault), 2 usage, 3 a fault.",
	}
	as := &flags.Printing{Format: "conf"}
	as.DefineRole(cmd.Flags(), "as", "check only whether this user of NATS has a role: orchestrator, worker or submitter")
	defineLocation(cmd.Flags(), where, "whose store to look at (default: the git work tree that holds FILE, else the one around the working directory)")
	cmd.RunE = a.do(between(0, 1, "doctor [FILE]"), func(ctx context.Context, args []string) error {
		cfg, err := doctorConfig(a, *where, args)
		if err != nil {
			return err
		}
		cfg.As, cfg.Role = roles.Role(as.Role), as.Options()
		found := doctor.Diagnose(ctx, cfg)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return showDiagnosis(a, found)
	}, as.RoleFaults)
	return cmd
}

func showDiagnosis(a *app, d *doctor.Diagnosis) error {
	err := a.emit(d, func(w io.Writer) { d.Table(w, a.paint(w)) }, func(w io.Writer) {
		for _, f := range d.Findings {
			if f.State != doctor.OK {
				console.Writeln(w, f.Check)
			}
		}
	})
	if err == nil && d.State == doctor.Fault {
		err = exit.With(exit.Infrastructure)
	}
	return err
}

// fileDir is the directory of a pipeline file.
func fileDir(a *app, file string) string { return filepath.Dir(a.path(file)) }

// doctorConfig finds out what to look at.
func doctorConfig(a *app, where store.Location, args []string) (cfg doctor.Config, err error) {
	cfg = doctor.Config{
		Asked: a.bind.Origin["server"], Embed: a.embedForDoctor, Serving: serving,
		Unkeyed: func(ctx context.Context, c *broker.Conn, run jobs.RunID) string {
			return client.New(c).Unkeyed(ctx, run)
		},
		Detect: func(ctx context.Context) (jobs.Capabilities, error) {
			return worker.Detect(ctx, worker.Config{Slots: 1})
		}, Env: a.env, Program: a.binary, Version: version(),
		Replicas: a.set.Replicas, Timeout: a.set.ConnectTimeout,
	}
	dir, err := a.workDir()
	if err != nil {
		return cfg, err
	}
	if len(args) > 0 {
		cfg.File = args[0]
		if cfg.Pipeline, err = checkFile(a, cfg.File, nil); err != nil {
			return cfg, err
		}
		dir = fileDir(a, cfg.File)
	}
	if _, cfg.Store, err = where.Resolve(a.env, dir); err != nil {
		return cfg, err
	}
	cfg.Target, cfg.Remote, err = a.nats.Named()
	return cfg, err
}

// embedForDoctor starts a server on a store, as a run would.
func (a *app) embedForDoctor(ctx context.Context, st *store.Dir) (*broker.Conn, func(), error) {
	s, err := a.sessions.Embed(ctx, st, access.Hosting{Token: store.NewToken(), As: access.RoleRead}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	return s.Conn, s.Close, nil
}

// serving reports whether an orchestrator serves this NATS.
func serving(ctx context.Context, c *broker.Conn) (bool, error) { return client.New(c).Serving(ctx) }
