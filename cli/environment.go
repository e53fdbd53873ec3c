package cli

import (
	"context"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/pflag"

	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/progress"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/pipeline"
)

// workerCommandLine is the command of the worker that belongs to this program.
func workerCommandLine(a *app) string {
	if a.own != nil {
		return access.ShellWord(a.own.name) + " worker"
	}
	return "worker"
}

// defineLocation defines the flags that describe which workspace, and which store, a
// command is about.
func defineLocation(fs *pflag.FlagSet, to *store.Location, workspace string) {
	settings.TextFlag(fs, &to.Workspace, "workspace", "", "DIR", "", workspace)
	settings.TextFlag(fs, &to.Dir, "store", "", "DIR", "", "where the embedded server keeps its data (default: a directory per workspace under $XDG_STATE_HOME/modpipe)")
}

// workspaceRead is the help of --workspace where nothing runs.
const workspaceRead = "without a server: whose runs (default: the git work tree around the working directory, else that directory)"

// open connects a command that reads runs or workers: to the server that
// the settings name, else to the run that holds the workspace's store, else to
// its own server on that store.
func (a *app) open(ctx context.Context, p store.Location) (*access.Session, error) {
	dir, err := a.workDir()
	if err != nil {
		return nil, err
	}
	return a.sessions.OpenFor(ctx, p, dir)
}

// workDir is where the command was started.
func (a *app) workDir() (string, error) {
	if a.Dir != "" {
		return a.Dir, nil
	}
	return os.Getwd()
}

// quietLogger logs errors only, and warnings in commands that read
// output.
func (a *app) quietLogger() *slog.Logger {
	if a.jsonErr {
		return slog.New(slog.DiscardHandler)
	}
	level := slog.LevelError
	if a.readsOutput {
		level = slog.LevelWarn
	}
	return a.kept(console.NewLogger(a.Stderr, a.paint(a.Stderr), level))
}

// paint colours what goes to a terminal, unless it or its user cannot see it.
func (a *app) paint(w io.Writer) console.Painter {
	return console.Painter(console.IsTerminal(w) && a.env["NO_COLOR"] == "" && a.env["TERM"] != "dumb")
}

// progressOf shows a run of p, which is nil when it is not known.
func progressOf(a *app, p *pipeline.Pipeline) progress.Progress {
	return progress.New(progress.Config{Format: a.set.Progress, Out: a.Stderr, Paint: a.paint(a.Stderr), Env: a.env, Environ: a.Env}, p)
}
