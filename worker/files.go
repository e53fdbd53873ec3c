package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/report"
)

var errNoFiles = errors.New("the module finds or leaves files, and this worker was started without a store of files")

// inWorkspace reports whether attempts run in the worker's own workspace, where
// the files of the run are already.
func (s *shift) inWorkspace(isolated bool) bool { return s.cfg.Workspace != "" && !isolated }

// withFiles runs an attempt in the directory with its files, and stores the
// artifacts that it leaves there.
func (a *task) withFiles(ctx context.Context, run func(dir string, found workspace.Found) exec.Result) exec.Result {
	f := a.job.Files
	if f == nil {
		return run("", workspace.Found{})
	}
	if !a.s.inWorkspace(f.Isolated) {
		return a.inDirectory(ctx, "", run)
	}
	return a.inCopy(ctx, func() exec.Result {
		hashed := f.Narrow && f.Workspace != nil && a.s.cfg.Files != nil // its inputs are compared
		if len(f.Restore) == 0 && len(f.Produce) == 0 && len(f.CacheDirs) == 0 && !hashed {
			return run("", workspace.Found{})
		}
		return a.inDirectory(ctx, a.s.cfg.Workspace, run)
	})
}

// inCopy runs an attempt in the workspace of the worker, when that has the files of
// the run.
func (a *task) inCopy(ctx context.Context, run func() exec.Result) exec.Result {
	snapshot := a.job.Files.Workspace
	if a.s.cfg.Copy == nil || snapshot == nil {
		return run()
	}
	waiting, stop := a.Stops().Within(ctx)
	defer stop()
	leave, err := a.s.cfg.Copy.Enter(waiting, workspace.Visit{Run: a.job.Run, Commit: a.job.Commit, Snapshot: *snapshot})
	if err != nil {
		return *a.notPrepared(err)
	}
	r := run()
	if text := leave(); text != "" {
		r.Warnings = append(r.Warnings, "worker "+a.s.cfg.Name+": "+text)
	}
	return r
}

// inDirectory runs an attempt in a directory with its files: in, or one of its own.
func (a *task) inDirectory(ctx context.Context, in string, run func(dir string, found workspace.Found) exec.Result) exec.Result {
	if a.s.cfg.Files == nil {
		return exec.NotStarted(errNoFiles)
	}
	dir, failed := a.prepare(ctx, in)
	if failed != nil {
		return *failed
	}
	found := dir.Found()
	r := a.collect(ctx, dir, run(found.Dir, found))
	r.Warnings = append(r.Warnings, a.warnings(found)...)
	if r.Gone && a.job.Func == nil { // a function that prepared a command may have left goroutines
		dir.Gone()
	}
	if err := dir.Close(); err != nil {
		r.Warnings = append(r.Warnings, err.Error())
	}
	return r
}

// warnings are those about what an attempt finds. That cache directories are not kept
// is said once a run.
func (a *task) warnings(found workspace.Found) []string {
	list := found.Warnings
	if len(found.Unkept) > 0 && a.s.runs.note(&a.s.runs.unkept, a.job.Run) {
		list = append(list, fmt.Sprintf("cache directories below the workspace are neither restored nor stored in the workspace of worker %s (%s): use --isolated, or env in the place of path", a.s.cfg.Name, strings.Join(found.Unkept, ", ")))
	}
	return list
}

// prepare fetches the files of the attempt. A request to end the attempt ends the
// wait for them.
func (a *task) prepare(ctx context.Context, in string) (workspace.Directory, *exec.Result) {
	waiting, stop := a.Stops().Within(ctx)
	defer stop()
	dir, err := a.s.cfg.Files.Prepare(waiting, a.job.Files, in)
	if err == nil {
		return dir, nil
	}
	return nil, a.notPrepared(err)
}

// notPrepared is how an attempt ends whose files could not be provided.
func (a *task) notPrepared(err error) *exec.Result {
	if st, ok := a.Stops().Asked(); ok {
		return &exec.Result{Status: st.Status, Error: st.Text, Finished: time.Now()}
	}
	failed := exec.NotStarted(err)
	return &failed
}

// collect stores the artifacts of an attempt that has ended. A success without its
// artifacts is a failure.
func (a *task) collect(ctx context.Context, dir workspace.Directory, r exec.Result) exec.Result {
	storing, stop := a.Stops().After(ctx)
	defer stop()
	searched := a.mask
	if a.job.Files.SecretsInArtifacts {
		searched = nil
	}
	artifacts, err := dir.Collect(storing, r.Status, searched)
	if err == nil && r.Status == report.AttemptSucceeded {
		if still := dir.Found().Faithful; still != nil && still(storing) {
			r.Place = workspace.Place(a.s.cfg.Workspace)
		}
		var warnings []string
		r.CacheDirs, warnings, err = dir.CollectDirs(storing, searched)
		r.Warnings = append(r.Warnings, warnings...)
		if err != nil {
			r.CacheDirs, r.Place = nil, ""
		}
	}
	r.Artifacts, r.Hermetic = artifacts, dir.Found().Hermetic
	st, asked := a.Stops().Asked()
	switch {
	case err == nil:
	case r.Status != report.AttemptSucceeded:
		r.Warnings = append(r.Warnings, "its artifacts could not be stored: "+err.Error())
	case asked:
		r.Status, r.Error = st.Status, st.Text
	case machine.Caused(err): // another machine can repeat it, and store what it leaves
		r.Status, r.Error, r.Unable = report.AttemptHandedBack, "store its artifacts: "+err.Error(), true
	default:
		_, r.Permanent = errors.AsType[*mask.FoundError](err)
		r.Status, r.Error = report.AttemptFailed, err.Error()
		if r.Permanent {
			r.Error += "; it was not stored (`secrets-in-artifacts: true` allows this)"
		}
	}
	return r
}

func (s *shift) closeFiles() {
	if s.cfg.Files == nil {
		return
	}
	if err := s.cfg.Files.Close(); err != nil {
		s.log.Warn("the store of files was not closed", "error", err)
	}
}
