package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/modpipe/modpipe/cli"
)

const chainFile = `
name: chain
modules:
  gen: {outputs: [v], run: 'echo gen >>ran; echo v=1 >>"$MODPIPE_OUTPUT"'}
  build: {needs: [gen], run: 'echo build >>ran'}
  reads: {needs: [gen], env: {V: "${{ needs.gen.outputs.v }}"}, run: 'echo reads >>ran'}
  default: {needs: [gen], env: {V: "${{ needs.gen.outputs.v ?? 'none' }}"}, run: 'echo "default $V" >>ran'}
  clean: {always-run: true, run: 'echo clean >>ran'}
`

// TestOnlyRunsTheNamedModules: --only runs what it names or says why not;
// --no-needs runs it alone; `runs retry` takes modules, also such as were not
// selected.
func TestOnlyRunsTheNamedModules(t *testing.T) {
	p := newProgram(t, cli.Orchestrator)
	p.write(t, "x.yaml", chainFile)
	for _, c := range []struct {
		args []string
		code int
		ran  string // "" = nothing
		want string // of stderr
	}{
		{[]string{"run", "x.yaml", "--only", "build", "--skip", "gen"}, 2, "", "--only: build would not run: it needs gen, which"},
		{[]string{"plan", "x.yaml", "--only", "build", "--skip", "build"}, 2, "", "--only: build would not run"},
		{[]string{"run", "x.yaml", "--only", "reads", "--no-needs"}, 2, "", "--no-needs: reads reads results of gen"},
		{[]string{"run", "x.yaml", "--no-needs"}, 2, "", "--no-needs says nothing without --only"},
		{[]string{"run", "x.yaml", "--only", "build", "--no-needs", "--run-id", "r1"}, 0, "build\n", "1 succeeded"},
		{[]string{"run", "x.yaml", "--only", "default", "--no-needs"}, 0, "default none\n", "1 succeeded"},
		{[]string{"run", "x.yaml", "--only", "gen", "--skip", "clean", "--run-id", "r2"}, 0, "gen\n", "1 succeeded"},
		{[]string{"runs", "retry", "r2"}, 5, "", "there is nothing to run again"},
		{[]string{"runs", "retry", "r2", "reads"}, 0, "reads\n", "runs reads and what follows of run r2 again, and keeps 1 module"},
		{[]string{"runs", "retry", "r2", "reads", "--from", "start"}, 0, "gen\nreads\n", "keeps 0 modules"},
		{[]string{"runs", "retry", "r2", "--from", "start"}, 0, "gen\n", "runs everything of run r2 again"},
		{[]string{"runs", "retry", "r2", "raeds"}, 5, "", `has no module "raeds"`},
		{[]string{"runs", "retry", "r2", "--from", "nowhere"}, 2, "", "is not one of failed, start"},
	} {
		ran := filepath.Join(p.dir, "ran")
		if err := os.RemoveAll(ran); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := p.exec(t, c.args...)
		text, _ := os.ReadFile(ran)
		if code != c.code || string(text) != c.ran {
			t.Errorf("%v: exit code %d, want %d; ran %q, want %q\n%s", c.args, code, c.code, text, c.ran, stderr)
		}
		wantAll(t, stderr, c.want)
	}
}
