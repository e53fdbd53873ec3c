package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// twoApart is a place with a server and two workers that share nothing. Its workspace is
// a git repository with two commits.
func twoApart(t *testing.T) *place {
	t.Helper()
	p := newPlace(t, workers)
	p.scratch = t.TempDir()
	p.runArgs = []string{"--workspace", p.workspace}
	p.server(t)
	p.apart(t, "w1")
	p.apart(t, "w2")
	p.repository(t, map[string]string{"a.txt": "first\n"})
	p.commit(t, map[string]string{"a.txt": "committed\n", "sub/b.txt": "b\n"})
	return p
}

// lose removes the files of the workspace, but not the directory.
func (p *place) lose(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(p.workspace); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(p.workspace, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestRunsOwnTheirFiles: a run has the files that it took along, even after changes to the
// workspace. The parts of the test share a server and two workers, and each leaves the
// workspace as the next one needs it.
func TestRunsOwnTheirFiles(t *testing.T) {
	t.Parallel()
	p := twoApart(t)
	p.ofACommit(t)
	p.withGit(t)
	p.ofEarlierRuns(t)
	p.detached(t)
	p.resumed(t)
	p.retriedElsewhere(t)
}

// ofACommit runs what is committed, and what is in the work tree.
func (p *place) ofACommit(t *testing.T) {
	t.Helper()
	head := p.git(t, "rev-parse", "HEAD")
	p.write(t, map[string]string{"a.txt": "dirty\n", "new.txt": "new\n"})
	const shows = `
name: e2e
modules:
  show: {run: 'echo "$MODPIPE_COMMIT" "$(cat a.txt)" $(ls)'}
`
	for _, c := range []struct {
		args  []string
		dirty bool
		files string
	}{{nil, true, "dirty a.txt new.txt sub"}, {[]string{"--rev", "HEAD"}, false, "committed a.txt sub"}, {[]string{"--rev", "HEAD~1"}, false, "first a.txt"}} {
		res := p.run(t, shows, c.args...)
		res.want(t, 0, all(succeeded, "show"))
		commit := head
		if c.files == "first a.txt" {
			commit = p.git(t, "rev-parse", "HEAD~1")
		}
		if res.Report.Commit != commit || res.Report.Dirty != c.dirty {
			t.Errorf("%v: the report has commit %s, dirty %v", c.args, res.Report.Commit, res.Report.Dirty)
		}
		if got := strings.Join(res.output("show", "stdout"), "\n"); got != commit+" "+c.files {
			t.Errorf("%v: it found %q", c.args, got)
		}
	}
	none := p.run(t, "name: e2e\nworkspace: false\nmodules: {show: {run: ls -A}}\n")
	none.want(t, 0, all(succeeded, "show"))
	if got := none.output("show", "stdout"); len(got) > 0 {
		t.Errorf("without a workspace it found %q", got)
	}
}

// withGit: git answers for the commit of the run.
func (p *place) withGit(t *testing.T) {
	t.Helper()
	p.git(t, "tag", "v1.2.3")
	for which, commits := range map[string]string{"true": "1", "full": "2"} {
		res := p.run(t, "name: e2e\nworkspace: {git: "+which+`}
modules:
  ask:
    run: |
      test "$(git rev-parse HEAD)" = "$MODPIPE_COMMIT" && test "$(git describe --tags)" = v1.2.3
      test "$(git log --oneline | wc -l)" = `+commits+` && git status --porcelain
`)
		res.want(t, 0, all(succeeded, "ask"))
		if got := strings.Join(res.output("ask", "stdout"), "\n"); got != " M a.txt\n?? new.txt" {
			t.Errorf("git: %s: status is %q", which, got)
		}
	}
}

// ofEarlierRuns takes an artifact of the newest run with a label.
func (p *place) ofEarlierRuns(t *testing.T) {
	t.Helper()
	const release = `
name: release
params: {text: {}, fails: {default: "false"}}
modules:
  parts: {matrix: {i: [1, 2]}, artifacts: {produce: {part: part}}, run: 'echo "$MODPIPE_MATRIX_I" >part'}
  build: {env: {TEXT: "${{ params.text }}", FAILS: "${{ params.fails }}"}, run: 'echo "$TEXT" >manifest.txt; ! $FAILS', artifacts: {produce: {manifest: manifest.txt}}}
`
	for _, r := range [][]string{{"one", "main", "false"}, {"two", "main", "false"}, {"three", "topic", "false"}, {"four", "main", "true"}} {
		p.run(t, release, "--param", "text="+r[0], "--label", "branch="+r[1], "--param", "fails="+r[2])
	}
	const uses = `
name: uses
modules:
  read: {artifacts: {consume: {from-run: latest, pipeline: release, label: {branch: BRANCH}, name: manifest, to: in}}, run: cat in/manifest.txt}
  parts: {artifacts: {consume: {from-run: latest, pipeline: release, name: part, to: in}}, run: 'test "$(cat in/parts-*/part | sort | tr "\n" " ")" = "1 2 "'}
`
	for branch, want := range map[string]string{"main": "two", "topic": "three"} {
		res := p.run(t, strings.ReplaceAll(uses, "BRANCH", branch))
		res.want(t, 0, all(succeeded, "read", "parts"))
		if got := strings.Join(res.output("read", "stdout"), ""); got != want {
			t.Errorf("the newest run of %s left %q, want %q", branch, got, want)
		}
	}
	if res := p.run(t, strings.ReplaceAll(uses, "BRANCH", "none")); res.Exit != 2 || !strings.Contains(res.Stderr, "module read consumes manifest: no run of pipeline release with these labels has succeeded") {
		t.Errorf("exit %d: %s", res.Exit, res.Stderr)
	}
}

const laterReads = `
name: e2e
modules:
  first: {artifacts: {produce: {f: made}}, run: 'echo made >made; echo waits; read _ <"$D/gate"'}
  later: {needs: [first], artifacts: {consume: [f]}, run: 'test "$(cat a.txt)$(cat made)" = dirtymade'}
`

// detached submits a run, and loses the workspace.
func (p *place) detached(t *testing.T) {
	t.Helper()
	p.serve(t, "one")
	dir := p.dir(t)
	gate := newGate(t, dir, "gate")
	id := p.detach(t, dir, laterReads, "--workspace", p.workspace)
	p.whileAway(t, func() {
		gate.open(t)
		if o := p.orchestrator(t, "runs", "wait", id); o.exit() != 0 {
			t.Errorf("runs wait: exit %d: %s", o.exit(), o.stderrText())
		}
	})
}

// whileAway does something while the files of the workspace are elsewhere.
func (p *place) whileAway(t *testing.T, do func()) {
	t.Helper()
	away := filepath.Join(t.TempDir(), "away")
	if err := os.Rename(p.workspace, away); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(p.workspace, 0o755); err != nil {
		t.Fatal(err)
	}
	do()
	if err := os.Remove(p.workspace); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, p.workspace); err != nil {
		t.Fatal(err)
	}
}

// resumed takes a run over after the death of its orchestrator, without the workspace.
func (p *place) resumed(t *testing.T) {
	t.Helper()
	dir := p.dir(t)
	gate := newGate(t, dir, "gate")
	r := p.startIn(t, dir, p.file(t, laterReads), "--run-id", "resumed")
	r.await(t, event{Event: "module.output", Module: "first", Text: "waits"})
	r.kill(t)
	p.whileAway(t, func() {
		gate.open(t)
		if o := p.orchestrator(t, "runs", "wait", "resumed"); o.exit() != 0 { // `serve` takes it over
			t.Errorf("runs wait: exit %d: %s", o.exit(), o.stderrText())
		}
	})
}

// retriedElsewhere repeats the end of a run, whose artifacts and files it keeps.
func (p *place) retriedElsewhere(t *testing.T) {
	t.Helper()
	first := p.run(t, `
name: e2e
modules:
  make: {artifacts: {produce: {f: made}}, run: 'echo make >>"$D/ran"; echo made >made'}
  use: {needs: [make], artifacts: {consume: [f]}, run: 'echo use >>"$D/ran"; test "$(cat a.txt)$(cat made)" = dirtymade; test -e "$D/repaired"'}
`)
	first.want(t, 1, and(all(succeeded, "make"), all(failed, "use")))
	if err := os.WriteFile(filepath.Join(first.dir, "repaired"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	second := p.retried(t, first.Report.Run)
	p.lose(t)
	third := p.retried(t, second.Report.Run, "use")
	if got := strings.Join(first.lines(t, "ran"), " "); got != "make use use use" {
		t.Errorf("ran %s; %v", got, third.Report.statuses())
	}
	if o := p.orchestrator(t, "runs", "artifacts", "list", third.Report.Run, "-o", "name"); o.stdout.String() != "make/f\n" {
		t.Errorf("the repeated run lists %q", o.stdout.String())
	}
}

// TestWorkspaceOfAnotherRepository: a worker never runs what belongs to another
// repository than its own workspace, and the run says what it waits for.
func TestWorkspaceOfAnotherRepository(t *testing.T) {
	t.Parallel()
	p := newPlace(t, workers)
	p.server(t)
	p.repository(t, map[string]string{"a.txt": "other\n"})
	p.git(t, "remote", "add", "origin", "https://git.example/other.git")
	p.worker(t, "w1")
	p.workspace = t.TempDir()
	p.scratch = p.workspace
	p.repository(t, map[string]string{"a.txt": "mine\n"})
	p.git(t, "remote", "add", "origin", "https://git.example/mine.git")
	const reads = "name: e2e\nmodules: {read: {queue-timeout: 1s, run: cat a.txt}}\n"
	p.run(t, reads) // the worker waits for the streams that this run creates
	res := p.run(t, reads)
	if res.Exit != 4 || len(res.output("read", "stdout")) > 0 {
		t.Errorf("exit %d; it printed %q", res.Exit, res.output("read", "stdout"))
	}
	for _, word := range []string{"git.example/mine", "git.example/other", "w1"} {
		if text := res.Report.module(t, "read").Error; !strings.Contains(text, word) {
			t.Errorf("%s is not named: %s", word, text)
		}
	}
	p.workerAt(t, p.url, "w2")
	res = p.run(t, reads)
	if got := res.output("read", "stdout"); res.Exit != 0 || len(got) != 1 || got[0] != "mine" {
		t.Errorf("exit %d; it printed %q", res.Exit, got)
	}
}

// TestLateListenerHasFiles: a run in place takes no snapshot. One that repeats it and lets
// workers join takes it then; one that only goes on cannot, and is refused.
func TestLateListenerHasFiles(t *testing.T) {
	t.Parallel()
	p := newPlace(t, standalone)
	p.scratch = t.TempDir()
	p.repository(t, map[string]string{"a.txt": "content\n", "ignored": "x"})
	if err := os.WriteFile(filepath.Join(p.scratch, ".modpipeignore"), []byte("ignored\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.runArgs = []string{"--workspace", p.workspace}
	const yaml = `
name: e2e
modules:
  far: {requires: {tags: [far]}, run: 'cat a.txt; test ! -e ignored'}
`
	if r := p.run(t, yaml); r.Exit != 4 {
		t.Fatalf("no worker has the tag: exit %d\n%s", r.Exit, r.Stderr)
	}
	addr := freeAddress(t)
	w := start(t, p.home, p.env("XDG_CACHE_HOME="+filepath.Join(p.home, "far")), binaries.worker, "--server", "nats://"+addr, "--name", "far", "--tags", "far")
	if o := p.orchestrator(t, "runs", "retry", "latest", "--listen", addr, "--progress", "plain"); o.exit() != 0 || !strings.Contains(o.stderrText(), "workspace  ") {
		t.Errorf("exit %d\n%s", o.exit(), o.stderrText())
	}
	w.kill(t)

	dir := p.dir(t)
	first := p.start(t, "name: e2e\nmodules: {wait: {run: 'touch \"$D/began\"; exec sleep 600'}}\n", "--env", "D="+dir, "--run-id", "inplace")
	awaitFile(t, filepath.Join(dir, "began"), "")
	first.kill(t)
	if o := p.orchestrator(t, "resume", "inplace", "--listen", addr); o.exit() != 2 || !strings.Contains(o.stderrText(), "took no snapshot") {
		t.Errorf("resume --listen: exit %d\n%s", o.exit(), o.stderrText())
	}
	if o := p.orchestrator(t, "runs", "cancel", "inplace"); o.exit() != 0 {
		t.Errorf("runs cancel: exit %d\n%s", o.exit(), o.stderrText())
	}
}
