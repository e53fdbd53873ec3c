package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/pflag"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/files"
	"github.com/modpipe/modpipe/internal/filestore"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/snapshot"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// filesOptions are the flags of `run` about the files that it takes along.
type filesOptions struct {
	isolated   bool
	rev        string
	most       int64 // bytes of a workspace; 0 = the default
	repository string
}

func (o *filesOptions) define(fs *pflag.FlagSet) {
	settings.SwitchFlag(fs, &o.isolated, "isolated", "", "give every module a fresh copy of the workspace, also where it runs here; each attempt of a Go module has its own process")
	settings.TextFlag(fs, &o.rev, "rev", "", "REV", "", "take the files of this commit, whatever the work tree holds; implies --isolated")
	settings.SizeFlag(fs, &o.most, "workspace-max", "refuse a workspace with more bytes than this (default: 1Gi)")
	repositoryFlag(fs, &o.repository)
}

func repositoryFlag(fs *pflag.FlagSet, to *string) {
	settings.TextFlag(fs, to, "workspace-id", "", "ID", "", "name the repository in the workspace; runs reach workers whose own workspace has the same one (default: the remote origin)")
}

// taker takes the files of a run along.
type taker struct {
	filesOptions
	workspace string
	file      string // the pipeline file; "" = a program defines the pipeline
	warn      func(string)
	note      func(line string)
}

// take stores the files of the workspace, when something will read them, and names
// them in the specification: workers elsewhere, modules in copies of the workspace,
// or a fingerprint. It also finds the earlier runs whose artifacts modules consume.
func (t *taker) take(ctx context.Context, c *broker.Conn, spec *jobs.Spec, elsewhere bool) error {
	return asUsage(t.takeFiles(ctx, c, spec, elsewhere))
}

// asUsage is an error of files that only the user can mend.
func asUsage(err error) error {
	if errors.As(err, new(*client.RefusedError)) {
		return exit.Usagef("%w", err)
	}
	return err
}

func (t *taker) takeFiles(ctx context.Context, c *broker.Conn, spec *jobs.Spec, elsewhere bool) error {
	var err error
	if spec.Earlier, err = client.New(c).Earlier(ctx, spec.Pipeline); err != nil {
		return err
	}
	spec.Isolated = t.isolated || t.rev != "" || spec.Pipeline.Isolated
	if !elsewhere && !spec.Isolated && !reads(spec.Pipeline) {
		return nil
	}
	return t.snapshot(ctx, c, spec)
}

// takeLate takes the files of a run that repeats one in the workspace, which took none
// along, when workers elsewhere will read them.
func takeLate(ctx context.Context, r *runner, s *access.Session) error {
	if r.spec.Workspace != nil || s.Server != nil && r.options.Listen == "" {
		return nil
	}
	t := &taker{workspace: r.workspace}
	if o := r.spec.Origin; o != nil && o.File != "" {
		file, err := filepath.Abs(r.app.path(o.File))
		if _, missing := os.Stat(file); err == nil && missing == nil {
			t.file = file // .modpipeignore is beside it
		}
	}
	t.tell(r)
	return asUsage(t.snapshot(ctx, s.Conn, r.spec))
}

// tell has a runner show what is taken.
func (t *taker) tell(r *runner) {
	t.note = func(line string) { r.progress.Note("%s", line) }
	t.warn = func(text string) { r.progress.Logger().Warn(text) }
}

func (t *taker) snapshot(ctx context.Context, c *broker.Conn, spec *jobs.Spec) error {
	o := snapshot.Options{Dir: t.workspace, File: t.file, Rev: t.rev, MaxBytes: t.most}
	if w := spec.Pipeline.Workspace; w != nil {
		o.Workspace = *w
	}
	if dir, err := filestore.DefaultDir(); err == nil { // without one, every file is read
		o.IndexDir = filepath.Join(filepath.Dir(dir), "index")
	}
	taken, err := client.New(c).Snapshot(ctx, spec, o, t.repository)
	if err != nil {
		return err
	}
	t.note(taken.Line)
	for _, w := range taken.Warnings {
		t.warn(w)
	}
	return nil
}

// reads reports whether a module of the run reads the snapshot, wherever it runs.
func reads(p *pipeline.Pipeline) bool {
	return slices.ContainsFunc(p.Modules, func(m *pipeline.Module) bool { return !m.Unselected && (m.Cache != nil || m.HashesFiles()) })
}

// repositoryOf is the repository in a worker's own workspace.
func repositoryOf(ctx context.Context, workspace, id string) (string, error) {
	if workspace == "" || id != "" {
		return id, nil
	}
	return snapshot.Identity(ctx, workspace)
}

// machineFiles are the files of attempts on this machine; dir, most and keep as for
// files.Config.
func machineFiles(c *broker.Conn, dir string, most int64, keep int) *files.Machine {
	return files.New(files.Config{Dir: dir, Max: most, Keep: keep, Remote: c.Files})
}
