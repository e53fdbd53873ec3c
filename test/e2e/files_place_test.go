package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFilesThatOnlyThisMachineHasAreNamed: a run in place ends with a warning about what
// modules created and no artifact declares. Nothing is said of files that were there,
// and of isolated runs.
func TestFilesThatOnlyThisMachineHasAreNamed(t *testing.T) {
	t.Parallel()
	p := newPlace(t, standalone)
	p.scratch = t.TempDir()
	p.repository(t, map[string]string{".gitignore": "*.o\n", "src.c": "int main;"})
	p.runArgs = []string{"--workspace", p.workspace}
	const yaml = `
name: e2e
modules:
  build:
    run: mkdir -p out && echo x >out/app && echo x >made.o && echo x >made.txt
    artifacts: {produce: {app: "out/**"}}
`
	const warning = "modules created 2 files"
	if r := p.run(t, yaml, "--isolated"); r.Exit != 0 || strings.Contains(r.Stderr, warning) {
		t.Errorf("isolated: exit %d\n%s", r.Exit, r.Stderr)
	}
	r := p.run(t, yaml)
	if r.Exit != 0 || strings.Count(r.Stderr, warning) != 1 || !strings.Contains(r.Stderr, "made.o, made.txt;") {
		t.Errorf("in place: exit %d\n%s", r.Exit, r.Stderr)
	}
	if r := p.run(t, yaml); r.Exit != 0 || strings.Contains(r.Stderr, "modules created") {
		t.Errorf("again: exit %d\n%s", r.Exit, r.Stderr)
	}
}

// TestDirectoryOfAnAttemptServesTheNext: attempts that follow each other on one slot
// run in one directory, and none finds what another one has left.
func TestDirectoryOfAnAttemptServesTheNext(t *testing.T) {
	t.Parallel()
	p := newPlace(t, workers)
	p.scratch = t.TempDir()
	files := map[string]string{}
	for i := range 100 {
		files[fmt.Sprintf("d%d/f%d", i%7, i)] = fmt.Sprint(i)
	}
	p.repository(t, files)
	p.server(t)
	p.apart(t, "w1", "--max-parallel", "1")
	p.runArgs = []string{"--workspace", p.workspace}
	const module = `
    run: |
      pwd
      find . -type f | wc -l
      cat d3/f3
      rm -r d4; echo changed >d3/f3; mkdir -p d5/new; echo x >d5/new/file; chmod 700 d6; chmod 400 d0/f7
`
	yaml := "\nname: e2e\nmodules:\n  a:" + module + "  b:\n    needs: [a]" + module + "  c:\n    needs: [b]" + module
	var where []string
	for range 2 {
		r := p.run(t, yaml)
		r.want(t, 0, map[string]string{"a": "succeeded", "b": "succeeded", "c": "succeeded"})
		for _, m := range []string{"a", "b", "c"} {
			out := r.output(m, "stdout")
			if len(out) != 3 || strings.TrimSpace(out[1]) != "100" || out[2] != "3" {
				t.Errorf("%s found %q", m, out)
				continue
			}
			where = append(where, out[0])
		}
	}
	for _, dir := range where {
		if dir != where[0] {
			t.Errorf("attempts ran in %v", where)
			break
		}
	}
}

// clone clones the workspace for a worker.
func (p *place) clone(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "clone")
	if out, err := exec.CommandContext(t.Context(), "git", "clone", "-q", p.workspace, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// TestWorkspaceOfAWorkerIsCompared: a worker with other files than the run says so
// once; with --workspace-sync it has those of the run.
func TestWorkspaceOfAWorkerIsCompared(t *testing.T) {
	t.Parallel()
	p := newPlace(t, workers)
	p.scratch = t.TempDir()
	p.repository(t, map[string]string{".gitignore": "*.o\n", "a": "committed", "gone": "x"})
	mine, synced := p.clone(t), p.clone(t)
	if err := os.WriteFile(filepath.Join(synced, "x.o"), []byte("ignored"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.write(t, map[string]string{"a": "edited", "new": "n"})
	if err := os.Remove(filepath.Join(p.workspace, "gone")); err != nil {
		t.Fatal(err)
	}
	p.server(t)
	p.apart(t, "own", "--workspace", mine, "--tags", "own")
	p.apart(t, "sync", "--workspace", synced, "--workspace-sync", "--tags", "sync")
	p.runArgs = []string{"--workspace", p.workspace}
	yaml := func(tag string) string {
		module := "\n    requires: {tags: [" + tag + "]}\n    run: cat a; echo; ls\n"
		return "\nname: e2e\nmodules:\n  one:" + module + "  two:\n    needs: [one]" + module
	}
	both := map[string]string{"one": "succeeded", "two": "succeeded"}

	r := p.run(t, yaml("own"))
	r.want(t, 0, both)
	said := strings.Join(r.Report.Warnings, "\n")
	if n := strings.Count(said, "worker own: modules run in its workspace "+mine); n != 1 || !strings.Contains(said, "2 files differ from the snapshot of the run: a, new;") {
		t.Errorf("%d warnings\n%s", n, said)
	}

	r = p.run(t, yaml("sync"))
	r.want(t, 0, both)
	if got := strings.Join(r.output("two", "stdout"), " "); got != "edited a new x.o" {
		t.Errorf("the worker found %q", got)
	}
	if len(r.Report.Warnings) > 0 {
		t.Errorf("there are warnings: %q", r.Report.Warnings)
	}
	p.write(t, map[string]string{"a": "edited again"})
	if r := p.run(t, yaml("sync")); r.Exit != 0 || r.output("one", "stdout")[0] != "edited again" {
		t.Errorf("the second run: exit %d, %v", r.Exit, r.output("one", "stdout"))
	}
}

func TestWorkspaceSyncNeedsAWorkspace(t *testing.T) {
	p := newPlace(t, workers)
	w := p.apartAt(t, "nats://127.0.0.1:1", "w", "--workspace-sync")
	if code := w.wait(t); code != 2 || !strings.Contains(w.stderr.String(), "--workspace-sync: needs --workspace") {
		t.Errorf("exit %d\n%s", code, w.stderr.String())
	}
}

// TestDevCachesInItsWorkspace: a module of a dev runs in the user's directory, and its
// result serves there from the second run on.
func TestDevCachesInItsWorkspace(t *testing.T) {
	t.Parallel()
	p := newPlace(t, standalone)
	p.scratch = t.TempDir()
	p.repository(t, map[string]string{"in": "1"})
	dev := start(t, p.workspace, p.env(), binaries.orchestrator, "dev", "--listen", freeAddress(t))
	dev.awaitText(t, "serving runs")
	const yaml = `
name: e2e
modules:
  build: {run: cat in >out, cache: {inputs: [in], portable: true}, artifacts: {produce: {out: out}}}
`
	run := func() string {
		t.Helper()
		id := p.detach(t, p.workspace, yaml, "--workspace", p.workspace)
		if o := p.orchestrator(t, "runs", "wait", id); o.exit() != 0 {
			t.Fatalf("exit %d\n%s", o.exit(), o.stderrText())
		}
		o := p.orchestrator(t, "runs", "show", id)
		return o.stdout.String()
	}
	run()
	if second := run(); !strings.Contains(second, "cached") {
		t.Errorf("the second run is not cached:\n%s", second)
	}
	p.write(t, map[string]string{"in": "2"})
	if third := run(); strings.Contains(third, "cached") {
		t.Errorf("with another input:\n%s", third)
	}
}
