package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// apart starts a worker that shares nothing with others: no workspace, and a home
// and a cache of its own.
func (p *place) apart(t testing.TB, name string, args ...string) *program {
	t.Helper()
	return p.apartAt(t, p.url, name, args...)
}

func (p *place) apartAt(t testing.TB, url, name string, args ...string) *program {
	t.Helper()
	home := p.homeOf(name)
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	env := p.env("HOME="+home, "XDG_CACHE_HOME="+filepath.Join(home, "cache"), "XDG_STATE_HOME="+filepath.Join(home, "state"))
	return start(t, home, env, binaries.worker, append([]string{"--server", url, "--name", name}, args...)...)
}

// homeOf is the home of a worker that shares nothing.
func (p *place) homeOf(name string) string { return filepath.Join(p.home, name) }

// repository makes the workspace a git repository with these files, and commits
// them.
func (p *place) repository(t testing.TB, files map[string]string) {
	t.Helper()
	p.git(t, "init", "-q")
	p.commit(t, files)
}

// commit writes files into the workspace and commits them.
func (p *place) commit(t testing.TB, files map[string]string) {
	t.Helper()
	p.write(t, files)
	p.git(t, "add", "-A")
	p.git(t, "-c", "user.name=e2e", "-c", "user.email=e2e@example.com", "commit", "-qm", "files")
}

func (p *place) write(t testing.TB, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(p.workspace, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (p *place) git(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir, cmd.Env = p.workspace, p.env()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// inEachDirectory runs a scenario in the user's own directory, in copies of it, and on
// two workers that share nothing. The files of runs are outside the workspace.
func inEachDirectory(t *testing.T, scenario func(t *testing.T, p *place)) {
	for _, way := range []string{"in place", "isolated", "apart"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			m := standalone
			if way == "apart" {
				m = workers
			}
			p := newPlace(t, m)
			p.scratch = t.TempDir()
			p.runArgs = []string{"--workspace", p.workspace}
			switch way {
			case "isolated":
				p.runArgs = append(p.runArgs, "--isolated")
			case "apart":
				p.server(t)
				p.apart(t, "w1", "--max-parallel", "4")
				p.apart(t, "w2", "--max-parallel", "4")
			}
			scenario(t, p)
		})
	}
}

// handed has producers and consumers of all kinds. A consumer fails unless it finds
// exactly what it should.
const handed = `
name: e2e
fail-fast: false
modules:
  member:
    matrix: {i: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]}
    artifacts: {produce: {part: "out/${{ matrix.i }}/**"}}
    run: |
      mkdir -p out/$MODPIPE_MATRIX_I && cd out/$MODPIPE_MATRIX_I
      echo "$MODPIPE_MATRIX_I" >number; echo h >.hidden; echo same >same
      echo 'echo ran' >run.sh; chmod 755 run.sh; ln -sf number link
  each:
    needs: [member]
    artifacts: {consume: {name: part, to: each}}
    run: |
      ls each
      test "$(ls each | wc -l)" = 12
      test "$(find each -type f | wc -l)" = 48
      test "$(cat each/member-*/out/*/number | sort -n | tr '\n' ' ')" = "1 2 3 4 5 6 7 8 9 10 11 12 "
  whole:
    needs: [member]
    artifacts: {consume: {name: part, to: whole, merge: true}}
    run: |
      test "$(ls whole/out | wc -l)" = 12
      test "$(find whole -name .hidden | wc -l)" = 12
      test "$(readlink whole/out/7/link)" = number && test "$(cat whole/out/7/link)" = 7
      test "$(whole/out/7/run.sh)" = ran && test ! -x whole/out/7/number
      echo changed >whole/out/1/same && test "$(cat whole/out/2/same)" = same
  mine:
    matrix: {i: [3, 5]}
    needs: [{module: member, same: i}]
    artifacts: {consume: {name: part, same: i, merge: true, to: "mine-${{ matrix.i }}"}}
    run: test "$(ls mine-$MODPIPE_MATRIX_I/out)" = "$MODPIPE_MATRIX_I"
  unit: {artifacts: {produce: {coverage-unit: cov/unit.out}}, run: "mkdir -p cov && echo unit >cov/unit.out"}
  system: {artifacts: {produce: {coverage-system: cov/system.out, other: cov/other}}, run: "mkdir -p cov && echo system >cov/system.out && echo o >cov/other"}
  patterns:
    needs: [unit, system]
    artifacts: {consume: [{name: coverage-*, to: all}]}
    run: test "$(cd all && find . -type f | sort | tr '\n' ' ')" = "./coverage-system/cov/system.out ./coverage-unit/cov/unit.out "
  merges:
    needs: [unit, system]
    artifacts: {consume: [{name: coverage-*, to: merged, merge: true}]}
    run: test "$(ls merged/cov | tr '\n' ' ')" = "system.out unit.out "
  fails:
    ignore-failure: true
    artifacts:
      produce:
        - {name: core, path: "${{ params.none }}core", when: failure}
        - {name: log, path: log, when: always}
        - {name: never, path: core}
        - {name: nothing, path: missing, when: always, optional: true}
    run: echo core >core; echo log >log; exit 7
  slow:
    ignore-failure: true
    timeout: 300ms
    grace: 1s
    artifacts: {produce: [{name: traces, path: slow.log, when: failure}]}
    run: echo traces >slow.log; sleep 60
  after:
    needs: [fails, slow]
    always-run: true
    artifacts: {consume: [{name: core, to: f}, {name: log, to: f}, {name: traces, to: f}, {name: never, to: n}, {name: nothing, to: n}]}
    run: cat f/core f/log f/slow.log; test ! -e n
params: {none: {default: ""}}
`

// TestArtifactsTravel: modules find the same files in the user's own directory, in copies
// of it, and on workers that share nothing; and what they left can be downloaded.
func TestArtifactsTravel(t *testing.T) {
	t.Parallel()
	inEachDirectory(t, func(t *testing.T, p *place) {
		res := p.run(t, handed)
		if res.Exit != 0 {
			t.Errorf("exit %d\n%s", res.Exit, res.Stderr)
		}
		res.consistent(t)
		for _, m := range res.Report.Modules {
			want := succeeded
			if m.Name == "fails" || m.Name == "slow" {
				want = "ignored_failure"
			}
			if m.Status != want {
				t.Errorf("%s ended %s: %s", m.Name, m.Status, m.Error)
			}
		}
		p.downloads(t, res.Report.Run)
	})
}

// downloads checks what the commands about the artifacts of a run of handed say.
func (p *place) downloads(t *testing.T, run string) {
	t.Helper()
	list := p.orchestrator(t, "runs", "artifacts", "list", run, "-o", "name").stdout.String()
	names := strings.Fields(list)
	for _, want := range []string{"unit/coverage-unit", "fails/core", "fails/log"} {
		if !slices.ContainsFunc(names, func(s string) bool { return strings.HasSuffix(s, want) }) {
			t.Errorf("no %s in the list: %s", want, list)
		}
	}
	to := filepath.Join(p.scratch, "downloaded")
	if o := p.orchestrator(t, "runs", "artifacts", "download", run, "fails/log", "--to", to); o.exit() != 0 {
		t.Fatalf("download: exit %d: %s", o.exit(), o.stderrText())
	}
	if text, err := os.ReadFile(filepath.Join(to, "log")); err != nil || string(text) != "log\n" {
		t.Errorf("downloaded %q, %v", text, err)
	}
}
