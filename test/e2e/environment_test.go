package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEnvironmentIsClean(t *testing.T) {
	const yaml = `
name: clean
env: {SHARED: pipeline, OVER: pipeline}
pass-env: [ALLOWED_*, NOT_THERE]
modules:
  dump:
    env: {OWN: "1", OVER: module}
    run: |
      env >"$D/env"
      test -d "$TMPDIR"
      test "$(pwd -P)" = "$(cd "$MODPIPE_WORKSPACE" && pwd -P)"
      echo "$TMPDIR" >"$D/tmpdir"
      cat
  family:
    matrix: {os: [linux]}
    command: [env]
`
	inBothModes(t, func(t *testing.T, p *place) {
		r := p.run(t, yaml, "--env", "OVER=flag", "--env", "SHARED=flag")
		r.want(t, 0, all(succeeded, "dump", "family (os=linux)"))
		allowed := []string{
			"CI", "PATH", "HOME", "USER", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "PWD", "SHLVL", "_", "OLDPWD",
			"D", "SHARED", "OVER", "OWN", "TRACEPARENT", "MODPIPE_RUN_ID", "MODPIPE_PIPELINE", "MODPIPE_MODULE", "MODPIPE_ATTEMPT",
			"MODPIPE_WORKER", "MODPIPE_WORKSPACE", "MODPIPE_FENCING_TOKEN", "MODPIPE_OUTPUT", "MODPIPE_NEEDS",
		}
		got := map[string]string{}
		for _, line := range r.lines(t, "env") {
			name, value, _ := strings.Cut(line, "=")
			got[name] = value
			if !slices.Contains(allowed, name) {
				t.Errorf("a module finds %s in its environment", line)
			}
		}
		for name, want := range map[string]string{
			"CI": "true", "OWN": "1", "OVER": "module", "SHARED": "flag", "MODPIPE_PIPELINE": "clean", "MODPIPE_MODULE": "dump",
			"MODPIPE_ATTEMPT": "1", "MODPIPE_RUN_ID": r.Report.Run, "MODPIPE_FENCING_TOKEN": "", "HOME": p.home,
			"MODPIPE_WORKER": r.Report.module(t, "dump").Attempts[0].Worker,
		} {
			if got[name] != want {
				t.Errorf("%s=%q, want %q", name, got[name], want)
			}
		}
		if tmp := r.lines(t, "tmpdir")[0]; tmp == os.TempDir() {
			t.Errorf("TMPDIR is not the module's own: %s", tmp)
		} else if _, err := os.Stat(tmp); !os.IsNotExist(err) {
			t.Errorf("TMPDIR was not removed: %v", err)
		}
		if out := r.output("family (os=linux)", "stdout"); !slices.Contains(out, "MODPIPE_MATRIX_OS=linux") {
			t.Errorf("a member finds %q", out)
		}
	})
}

func TestPassEnvAndEnvFile(t *testing.T) {
	const yaml = `
name: e2e
modules:
  a: {pass-env: [NOT_FOR_MODULES], run: 'test "$NOT_FOR_MODULES" = secret; test "$FROM_FILE" = "a b"; test "$BOTH" = flag'}
`
	for _, m := range []mode{standalone, workers} {
		t.Run(string(m), func(t *testing.T) {
			p := newPlace(t, m)
			if m == workers {
				p.server(t)
				p.worker(t, "open", "--pass-env", "NOT_FOR_*")
			}
			file := filepath.Join(p.home, "env")
			if err := os.WriteFile(file, []byte("# a comment\nFROM_FILE=a b\n\nBOTH=file\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			p.run(t, yaml, "--env-file", file, "--env", "BOTH=flag").want(t, 0, all(succeeded, "a"))
		})
	}
}

// TestWithoutAWorkspace has a worker run each attempt in a fresh directory.
func TestWithoutAWorkspace(t *testing.T) {
	const yaml = `
name: e2e
modules:
  a: {run: 'test -z "$(ls -A)"; touch left; pwd >"$D/where"'}
  b: {needs: [a], run: 'test ! -e left'}
`
	p := newPlace(t, workers)
	p.server(t)
	start(t, p.home, p.env(), binaries.worker, "--server", p.url, "--name", "fresh")
	r := p.run(t, yaml)
	r.want(t, 0, all(succeeded, "a", "b"))
	if where := r.lines(t, "where")[0]; where == p.workspace {
		t.Errorf("it ran in the run's workspace")
	} else if _, err := os.Stat(where); !os.IsNotExist(err) {
		t.Errorf("%s was not removed: %v", where, err)
	}
}

func TestLogs(t *testing.T) {
	const yaml = `
name: e2e
modules:
  many: {run: 'i=0; while [ $i -lt 5000 ]; do i=$((i+1)); echo "line $i"; done'}
  long: {run: 'head -c 1000000 /dev/zero | tr "\0" x; echo; echo end'}
  bytes: {run: 'printf "a\377\376b\n\000c\n"; printf "no end"'}
  streams: {run: 'echo out; echo err >&2'}
`
	inBothModes(t, func(t *testing.T, p *place) {
		r := p.run(t, yaml, "--run-id", "logs-"+string(p.mode))
		r.want(t, 0, all(succeeded, "many", "long", "bytes", "streams"))
		var want bytes.Buffer
		for i := range 5000 {
			fmt.Fprintf(&want, "line %d\n", i+1)
		}
		if got := strings.Join(r.output("many", "stdout"), "\n") + "\n"; got != want.String() {
			t.Errorf("events: %d bytes of 5000 lines, want %d", len(got), want.Len())
		}
		if got := strings.Join(r.output("long", "stdout"), ""); got != strings.Repeat("x", 1000000)+"end" {
			t.Errorf("events: a line of 1 MB arrived as %d bytes", len(got))
		}
		if got := r.output("bytes", "stdout"); !slices.Equal(got, []string{"a\ufffdb", "\x00c", "no end"}) { // one U+FFFD for both
			t.Errorf("events: bytes arrived as %q", got)
		}
		if out, err := r.output("streams", "stdout"), r.output("streams", "stderr"); !slices.Equal(out, []string{"out"}) || !slices.Equal(err, []string{"err"}) {
			t.Errorf("events: stdout %q, stderr %q", out, err)
		}
		id := r.Report.Run
		if o := p.orchestrator(t, "runs", "logs", id, "many"); o.exit() != 0 || o.stdout.String() != want.String() {
			t.Errorf("runs logs: exit %d, %d bytes, want %d", o.exit(), o.stdout.Len(), want.Len())
		}
		if o := p.orchestrator(t, "runs", "logs", id, "bytes"); o.stdout.String() != "a\xff\xfeb\n\x00c\nno end" {
			t.Errorf("runs logs: %q, want the bytes as they were", o.stdout.String())
		}
	})
}
