package modpipetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// StubFiles gives a module one of the artifacts that it produces: files, by
// their paths below the workspace. A family's name means all its members. A
// command that is not stubbed otherwise succeeds with it, and sets no outputs.
//
//	modpipetest.StubFiles("build", "bin", fstest.MapFS{"bin/tool": {Data: []byte("…")}})
func StubFiles(module, artifact string, files fs.FS) Option {
	return option(func(p *Pipeline) {
		if p.stubbed[module] == nil {
			p.stubbed[module] = map[string]fs.FS{}
		}
		p.stubbed[module][artifact] = files
	})
}

// Files are those of an artifact that a module has left; without it the test fails.
func Files(p *Pipeline, module, artifact string) fs.FS {
	p.t.Helper()
	p.module(module)
	files, ok := p.left[module][artifact]
	if !ok {
		p.t.Fatalf("%s has left no artifact %q", module, artifact)
	}
	return files
}

func (p *Pipeline) checkStubFiles() {
	p.t.Helper()
	for module, artifacts := range p.stubbed {
		if !p.mayRun(module) {
			p.t.Fatalf("StubFiles: no module is called %q", module)
		}
		for name := range artifacts {
			if !p.produces(module, name) {
				p.t.Fatalf("StubFiles: %s produces no artifact %q", module, name)
			}
		}
	}
}

func (p *Pipeline) produces(module, artifact string) bool {
	family, _, _ := strings.Cut(module, " (")
	return slices.ContainsFunc(p.graph.Modules, func(m *pipeline.Module) bool {
		return (m.Name == module || m.Family == module || m.Dynamic != nil && m.Family == family) &&
			(len(m.Late) > 0 || slices.ContainsFunc(m.Produce, func(x pipeline.Produce) bool { return x.Name == artifact }))
	})
}

// stubFiles are the artifacts that StubFiles gives a module; nil without.
func (p *Pipeline) stubFiles(m *pipeline.Module) map[string]fs.FS {
	if files := p.stubbed[m.Name]; files != nil || m.Family == "" {
		return files
	}
	return p.stubbed[m.Family]
}

// prepareFiles gives an attempt its directory, with what it consumes.
func (x *player) prepareFiles(m *pipeline.Module, job *jobs.Job, req *call.Request) error {
	opened := artifacts{}
	req.Files = opened
	if job.Files == nil || req.Stubbed {
		return nil
	}
	restores := slices.ContainsFunc(job.Files.Restore, func(r jobs.Restore) bool { return !r.Open })
	if restores || len(m.Produce) > 0 {
		req.Dir = x.t.TempDir()
	}
	for _, r := range job.Files.Restore {
		files := x.left[r.Module][r.Name]
		if files == nil {
			return fmt.Errorf("modpipetest has no files of artifact %s of %s: please report this", r.Name, r.Module)
		}
		if r.Open {
			key := artifact{r.Need, r.Name}
			opened[key] = append(opened[key], part{r.To, files})
			continue
		}
		if err := os.CopyFS(filepath.Join(req.Dir, filepath.FromSlash(r.To)), files); err != nil {
			return fmt.Errorf("restore artifact %s of %s: %w", r.Name, r.Module, err)
		}
	}
	return nil
}

// leave keeps what an attempt produced, and fails one that lacks something.
func (x *player) leave(m *pipeline.Module, dir string, o *jobs.Outcome) {
	produce := m.Produce
	stubs := x.stubFiles(m)
	for _, p := range produce {
		succeeded := o.Status == report.AttemptSucceeded
		failed := o.Status == report.AttemptFailed || o.Status == report.AttemptTimedOut
		if !succeeded && !failed || p.When == pipeline.OnSuccess && !succeeded || p.When == pipeline.OnFailure && !failed {
			continue
		}
		files, found := stubs[p.Name]
		if !found && dir != "" {
			matched, err := matching(os.DirFS(dir), p.Paths)
			if err != nil {
				x.t.Fatalf("take artifact %s of %s: %v", p.Name, m.Name, err)
			}
			files, found = matched, len(matched) > 0
		}
		switch {
		case found:
			o.Artifacts = append(o.Artifacts, x.keep(m, p.Name, files))
		case p.Optional || !succeeded:
		case dir == "":
			o.Status, o.Permanent = report.AttemptFailed, true
			o.Error = fmt.Sprintf("it produces artifact %s, and its stub does not: give its files with StubFiles(%q, %q, …)", p.Name, m.Name, p.Name)
		default:
			o.Status = report.AttemptFailed
			o.Error = fmt.Sprintf("artifact %s: nothing matches %s", p.Name, strings.Join(p.Paths, ", "))
		}
	}
}

// keep enters an artifact of a module.
func (x *player) keep(m *pipeline.Module, name string, files fs.FS) jobs.Artifact {
	if x.left[m.Name] == nil {
		x.left[m.Name] = map[string]fs.FS{}
	}
	x.left[m.Name][name] = files
	tree := jobs.Tree{Root: m.Token + "/" + name, Time: x.now}
	_ = fs.WalkDir(files, ".", func(_ string, d fs.DirEntry, err error) error { // counting is for the report
		if err == nil && d.Type().IsRegular() {
			tree.Files++
			if info, err := d.Info(); err == nil {
				tree.Bytes += info.Size()
			}
		}
		return nil
	})
	return jobs.Artifact{Name: name, Tree: tree}
}

// matching reads the regular files that globs match and do not exclude. A
// directory that matches is all that is in it.
func matching(from fs.FS, globs []string) (fstest.MapFS, error) {
	files := fstest.MapFS{}
	match := func(name string, excludes bool) bool {
		return slices.ContainsFunc(globs, func(glob string) bool {
			pattern, not := strings.CutPrefix(glob, "!")
			return not == excludes && (doublestar.MatchUnvalidated(pattern, name) || doublestar.MatchUnvalidated(path.Join(pattern, "**"), name))
		})
	}
	err := fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !match(name, false) || match(name, true) {
			return err
		}
		data, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files[name] = &fstest.MapFile{Data: data, Mode: info.Mode().Perm(), ModTime: info.ModTime()}
		return nil
	})
	return files, err
}

// artifacts are those that an attempt may open.
type artifacts map[artifact][]part

type artifact struct{ module, name string }

// part is what one module has left of an artifact, and where it is.
type part struct {
	dir   string
	files fs.FS
}

// Open implements call.Files.
func (a artifacts) Open(ctx context.Context, module, name string) (fs.FS, error) {
	parts := a[artifact{module, name}]
	if len(parts) == 0 {
		return nil, fs.ErrNotExist
	}
	all := fstest.MapFS{}
	for _, p := range parts {
		err := fs.WalkDir(p.files, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := fs.ReadFile(p.files, name)
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			all[path.Join(p.dir, name)] = &fstest.MapFile{Data: data, Mode: info.Mode(), ModTime: info.ModTime()}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return bounded{ctx, all}, nil
}

// Unpack implements call.Files.
func (a artifacts) Unpack(ctx context.Context, module, name, dir string) error {
	files, err := a.Open(ctx, module, name)
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(dir, 0o755), os.CopyFS(dir, files)) //nolint:gosec // a test's own files
}

// bounded opens no file once its context has ended, as the files of a worker.
type bounded struct {
	ctx context.Context //nolint:containedctx // fs.FS takes none
	fs.FS
}

// Open implements fs.FS.
func (b bounded) Open(name string) (fs.File, error) {
	if err := b.ctx.Err(); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return b.FS.Open(name)
}
