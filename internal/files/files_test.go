package files_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/files"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// fleet is a NATS server, and the store on it.
type fleet struct {
	t     *testing.T
	store content.Store
}

func newFleet(t *testing.T) fleet {
	t.Helper()
	return newFleetOn(t, natstest.InProcess(t))
}

func newFleetOn(t *testing.T, s *natstest.Server) fleet {
	t.Helper()
	c, err := jetstream.Connect(t.Context(), jetstream.Config{
		URL: s.URL(), Options: s.Options(), ConnectTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler),
		Streams: streams.Settings(), Probe: streams.Runs,
	})
	natstest.Check(t, err)
	t.Cleanup(c.Close)
	return fleet{t, content.New(c, streams.BlobsBucket, jobs.DefaultNamespace, streams.BlobsAge)}
}

// machine is a machine with an empty store.
func (f fleet) machine() *files.Machine {
	m := files.New(files.Config{Dir: f.t.TempDir(), Remote: f.store})
	f.t.Cleanup(func() { natstest.Check(f.t, m.Close()) })
	return m
}

// snapshot stores files, by path.
func (f fleet) snapshot(contents map[string]string) *jobs.Tree {
	f.t.Helper()
	var list []tree.File
	for path, text := range contents {
		list = append(list, tree.File{Path: path, Size: int64(len(text)), Digest: sha256.Sum256([]byte(text))})
	}
	t := natstest.Must[*tree.Tree](f.t)(tree.New(list))
	open := func(file tree.File) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader([]byte(contents[file.Path]))), nil
	}
	ref, _, err := transfer.Push(f.t.Context(), f.store, t, open, time.Unix(1e9, 0))
	natstest.Check(f.t, err)
	return &ref
}

// attempt prepares the files of an attempt in a new directory.
func attempt(t *testing.T, m *files.Machine, f *jobs.JobFiles) workspace.Directory {
	t.Helper()
	f.Namespace = jobs.DefaultNamespace
	d, err := m.Prepare(t.Context(), f, "")
	natstest.Check(t, err)
	return d
}

// leave ends an attempt that has written files.
func leave(t *testing.T, d workspace.Directory, ended report.AttemptStatus, wrote map[string]string) ([]jobs.Artifact, error) {
	t.Helper()
	for path, text := range wrote {
		natstest.Check(t, os.MkdirAll(filepath.Dir(filepath.Join(d.Found().Dir, path)), 0o755))
		natstest.Check(t, os.WriteFile(filepath.Join(d.Found().Dir, path), []byte(text), 0o644))
	}
	left, err := d.Collect(t.Context(), ended, nil)
	natstest.Check(t, d.Close())
	return left, err
}

func contentsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	natstest.Check(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		found[filepath.ToSlash(rel)] = string(text)
		return err
	}))
	return found
}

func produced(name string, globs ...string) pipeline.Produce {
	return pipeline.Produce{Name: name, Paths: globs}
}

// TestArtifactsReachOtherMachines: a module on another machine finds the files of
// the run and those that its need has left.
func TestArtifactsReachOtherMachines(t *testing.T) {
	f := newFleet(t)
	snapshot := f.snapshot(map[string]string{"src/a.c": "int a;", "Makefile": "all:"})
	first := attempt(t, f.machine(), &jobs.JobFiles{Workspace: snapshot, Produce: []pipeline.Produce{produced("bin", "out/**", "!out/*.tmp")}})
	left, err := leave(t, first, report.AttemptSucceeded, map[string]string{"out/a": "binary", "out/x.tmp": "", "other": ""})
	natstest.Check(t, err)
	if len(left) != 1 || left[0].Name != "bin" || left[0].Tree.Files != 1 {
		t.Fatalf("it left %+v", left)
	}
	if _, err := os.Stat(first.Found().Dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
	second := attempt(t, f.machine(), &jobs.JobFiles{Workspace: snapshot, Restore: []jobs.Restore{
		{Artifact: left[0], Module: "build"}, {Artifact: left[0], Module: "build", To: "copy"},
	}})
	want := map[string]string{"src/a.c": "int a;", "Makefile": "all:", "out/a": "binary", "copy/out/a": "binary"}
	if diff := cmp.Diff(want, contentsOf(t, second.Found().Dir)); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(filepath.Join(second.Found().Dir, "Makefile"))
	if natstest.Check(t, err); !info.ModTime().Equal(time.Unix(1e9, 0)) {
		t.Errorf("a file of the snapshot has the time %v", info.ModTime())
	}
	natstest.Check(t, second.Close())
}

// TestNarrowDirectoryHasDeclaredInputsOnly: what a cached module does not declare
// is not there.
func TestNarrowDirectoryHasDeclaredInputsOnly(t *testing.T) {
	f := newFleet(t)
	d := attempt(t, f.machine(), &jobs.JobFiles{
		Workspace: f.snapshot(map[string]string{"a.go": "package a", "go.mod": "module a", "README": "read"}), Narrow: true, Inputs: []string{"**/*.go"},
	})
	if diff := cmp.Diff(map[string]string{"a.go": "package a"}, contentsOf(t, d.Found().Dir)); diff != "" {
		t.Error(diff)
	}
	if !d.Found().Hermetic {
		t.Error("it is not hermetic")
	}
	natstest.Check(t, d.Close())
}

func TestWhichArtifactsAnAttemptLeaves(t *testing.T) {
	f := newFleet(t)
	m := f.machine()
	logs := pipeline.Produce{Name: "logs", Paths: []string{"*.log"}, When: pipeline.OnFailure}
	always := pipeline.Produce{Name: "all", Paths: []string{"*.log"}, When: pipeline.Always}
	maybe := pipeline.Produce{Name: "maybe", Paths: []string{"none/**"}, Optional: true}
	for _, c := range []struct {
		ended report.AttemptStatus
		want  []string
	}{
		{report.AttemptSucceeded, []string{"bin", "all"}},
		{report.AttemptFailed, []string{"logs", "all"}},
		{report.AttemptTimedOut, []string{"logs", "all"}},
		{report.AttemptCancelled, nil},
		{report.AttemptLost, nil},
	} {
		d := attempt(t, m, &jobs.JobFiles{Produce: []pipeline.Produce{produced("bin", "a"), logs, always, maybe}})
		left, err := leave(t, d, c.ended, map[string]string{"a": "a", "x.log": "log"})
		natstest.Check(t, err)
		var names []string
		for _, a := range left {
			names = append(names, a.Name)
		}
		if diff := cmp.Diff(c.want, names); diff != "" {
			t.Errorf("after %s: %s", c.ended, diff)
		}
	}
}

func TestNothingMatchesIsAnError(t *testing.T) {
	f := newFleet(t)
	d := attempt(t, f.machine(), &jobs.JobFiles{Produce: []pipeline.Produce{produced("bin", "out/**"), produced("a", "a")}})
	left, err := leave(t, d, report.AttemptSucceeded, map[string]string{"a": "a"})
	if err == nil || !strings.Contains(err.Error(), "artifact bin: nothing matches out/**") {
		t.Errorf("the error is %v", err)
	}
	if len(left) != 1 {
		t.Errorf("the other artifact is missing: %+v", left)
	}
}

// TestTwoContentsAtOnePath: the error names the path and both producers.
func TestTwoContentsAtOnePath(t *testing.T) {
	f := newFleet(t)
	m := f.machine()
	one := jobs.Artifact{Name: "cov", Tree: *f.snapshot(map[string]string{"c.txt": "one", "same": "s"})}
	two := jobs.Artifact{Name: "cov", Tree: *f.snapshot(map[string]string{"c.txt": "two", "same": "s"})}
	_, err := m.Prepare(t.Context(), &jobs.JobFiles{Restore: []jobs.Restore{{Artifact: one, Module: "t (n=1)"}, {Artifact: two, Module: "t (n=2)"}}}, "")
	for _, word := range []string{`"c.txt"`, "t (n=1)", "t (n=2)"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not name %s: %v", word, err)
		}
	}
}

// TestArtifactInAWorkspace: in the user's own directory nothing is replaced.
func TestArtifactInAWorkspace(t *testing.T) {
	f := newFleet(t)
	m := f.machine()
	dir := t.TempDir()
	natstest.Check(t, os.WriteFile(filepath.Join(dir, "same"), []byte("text"), 0o644))
	same := jobs.Restore{Artifact: jobs.Artifact{Name: "a", Tree: *f.snapshot(map[string]string{"same": "text", "new": "n"})}, Module: "m"}
	d, err := m.Prepare(t.Context(), &jobs.JobFiles{Restore: []jobs.Restore{same}}, dir)
	natstest.Check(t, err)
	natstest.Check(t, d.Close())
	if diff := cmp.Diff(map[string]string{"same": "text", "new": "n"}, contentsOf(t, dir)); diff != "" {
		t.Error(diff)
	}
	other := jobs.Restore{Artifact: jobs.Artifact{Name: "a", Tree: *f.snapshot(map[string]string{"same": "other"})}, Module: "m"}
	if _, err := m.Prepare(t.Context(), &jobs.JobFiles{Restore: []jobs.Restore{other}}, dir); err == nil || !strings.Contains(err.Error(), "same") {
		t.Errorf("a file of the user was replaced: %v", err)
	}
	if text := contentsOf(t, dir)["same"]; text != "text" {
		t.Errorf("the file of the user holds %q", text)
	}
}

// TestArtifactThatIsGone: the error names it.
func TestArtifactThatIsGone(t *testing.T) {
	f := newFleet(t)
	ref := jobs.Tree{Root: strings.Repeat("a", 64), Manifest: strings.Repeat("b", 64), Namespace: jobs.DefaultNamespace, Files: 1}
	_, err := f.machine().Prepare(t.Context(), &jobs.JobFiles{Restore: []jobs.Restore{{Artifact: jobs.Artifact{Name: "bin", Tree: ref}, Module: "build"}}}, "")
	if err == nil || !strings.Contains(err.Error(), "artifact bin of build") {
		t.Errorf("the error is %v", err)
	}
}

// TestGitOfTheRun: the .git of a run is at the top of the directory.
func TestGitOfTheRun(t *testing.T) {
	f := newFleet(t)
	git := f.snapshot(map[string]string{".git/HEAD": "ref: refs/heads/main"})
	d := attempt(t, f.machine(), &jobs.JobFiles{Workspace: f.snapshot(map[string]string{"a": "a"}), Git: git})
	if diff := cmp.Diff(map[string]string{"a": "a", ".git/HEAD": "ref: refs/heads/main"}, contentsOf(t, d.Found().Dir)); diff != "" {
		t.Error(diff)
	}
	natstest.Check(t, d.Close())
}

// TestArtifactWithHooks: a worker that is not trusted cannot change what git runs
// in the workspace of a user.
func TestArtifactWithHooks(t *testing.T) {
	f := newFleet(t)
	dir := t.TempDir()
	for _, path := range []string{".git/hooks/post-commit", "sub/.GIT/config"} {
		a := jobs.Artifact{Name: "a", Tree: *f.snapshot(map[string]string{path: "#!/bin/sh"})}
		_, err := f.machine().Prepare(t.Context(), &jobs.JobFiles{Restore: []jobs.Restore{{Artifact: a, Module: "m"}}}, dir)
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if found := contentsOf(t, dir); len(found) > 0 {
		t.Errorf("it wrote %v", found)
	}
}
