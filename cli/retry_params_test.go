package cli_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/cli"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

const greetFile = `
name: greet
params:
  who: {default: world}
  n: {type: number, default: 1, from-env: GREET_N}
  os: {type: choice, options: [linux, macos], default: linux}
modules:
  hello: {category: talk, env: {WHO: "${{ params.who }}", N: "${{ params.n }}"}, run: 'echo "hello $WHO $N" >>ran'}
  build: {needs: [hello], matrix: {os: ["${{ params.os }}"]}, env: {OS: "${{ matrix.os }}"}, run: 'echo "build $OS" >>ran'}
  other: {category: talk, env: {WHO: "${{ params.who }}"}, run: 'echo "other $WHO" >>ran'}
  broken: {needs: [other], run: 'exit 3'}
`

// ranBy runs a command and returns what its modules have written.
func (p *program) ranBy(t *testing.T, code int, want string, args ...string) string {
	t.Helper()
	ran := filepath.Join(p.dir, "ran")
	if err := os.RemoveAll(ran); err != nil {
		t.Fatal(err)
	}
	got, _, stderr := p.exec(t, args...)
	if got != code {
		t.Errorf("%v: exit code %d, want %d\n%s", args, got, code, stderr)
	}
	wantAll(t, stderr, want)
	text, _ := os.ReadFile(ran)
	return string(text)
}

// retryWithParams holds what `runs retry --from start --param` promises: it
// binds the text that the run holds to other parameters, and keeps the selection
// and the values that are not named.
func retryWithParams(t *testing.T, p *program, more ...string) {
	t.Helper()
	p.write(t, "x.yaml", greetFile)
	env := p.env
	p.env = append(env, "GREET_N=7")
	carry := append(more, "--workspace", p.dir)
	first := append([]string{"run", "x.yaml", "--param", "who=you", "--only", "build", "--run-id", "r1"}, carry...)
	if got := p.ranBy(t, 0, "", first...); got != "hello you 7\nbuild linux\n" {
		t.Errorf("the first run has run %q", got)
	}
	p.env = append(env, "MODPIPE_ORCHESTRATOR_PARAM=who=env")
	p.write(t, "x.yaml", "name: gone\nmodules: {x: {run: 'echo gone >>ran'}}\n")
	for _, c := range []struct {
		args string
		code int
		ran  string
		want string // of stderr
	}{
		{"r1 --from start --param os=macos --run-id r2", 0, "hello you 7\nbuild macos\n", "again with another os,"},
		{"r2 --from start --param who=me --run-id r3", 0, "hello me 7\nbuild macos\n", ""},
		{"r3 --from start", 0, "hello me 7\nbuild macos\n", ""},
		{"r1 other --from start --param who=her --run-id r4", 0, "other her\n", "runs other and what follows"},
		{"r4 --from start --param who=him", 0, "other him\n", ""},
		{"r1 --from start --param hwo=x", 2, "", `the pipeline has no parameter "hwo"`},
		{"r1 --from start --param n=many", 2, "", `parameter n (from --param): "many" is not a number`},
		{"r1 --from start --param n", 2, "", "--param: want KEY=VALUE"},
		{"r1 --param n=2", 2, "", "add --from start"},
		{"r1 hello --from failed --param n=2", 2, "", "add --from start"},
		{"r1 biuld --from start --param n=2", 5, "", `has no module "biuld"`},
		{"r9 --from start --param n=2", 5, "", "there is no run r9"},
	} {
		args := append([]string{"runs", "retry"}, strings.Fields(c.args)...)
		if got := p.ranBy(t, c.code, c.want, append(args, carry...)...); got != c.ran {
			t.Errorf("%v has run %q, want %q", args, got, c.ran)
		}
	}
	_, stdout, _ := p.exec(t, "__complete", "runs", "retry", "r1", "build", "")
	wantAll(t, stdout, "build (os=linux)\nother\nbroken\n")
}

func TestRetryFromStartTakesParameters(t *testing.T) {
	retryWithParams(t, newProgram(t, cli.Orchestrator))
}

func TestRetryOverWorkersFromStartTakesParameters(t *testing.T) {
	p, _ := onServer(t)
	retryWithParams(t, p, "--local", "1")
}

func TestRetryOfARunWithoutItsTextRefusesParameters(t *testing.T) {
	p, c := onServer(t)
	graph := &pipeline.Pipeline{Name: "p", Modules: []*pipeline.Module{{Name: "m", Token: "m", Slots: 1, Command: &pipeline.Command{Run: "true"}}}}
	if err := client.New(c).Submit(t.Context(), &jobs.Spec{Run: "old", Pipeline: graph}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Runs.Append(t.Context(), "old", "", 0, jobs.Record{End: &jobs.End{Status: report.RunFailed}}); err != nil {
		t.Fatal(err)
	}
	p.ranBy(t, 5, "run old cannot have other parameters: an earlier version of modpipe", "runs", "retry", "old", "--from", "start", "--param", "a=b")
}

// TestRetryTakesParametersFromTheRunsProgramOnly: where a Go program defines
// the pipeline, that program binds it, and others name it.
func TestRetryTakesParametersFromTheRunsProgramOnly(t *testing.T) {
	p := newGreeter(t, greeter)
	if code, _, stderr := p.exec(t, "run", "--param", "name=you", "--run-id", "r1"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	code, stdout, stderr := p.exec(t, "runs", "retry", "r1", "--from", "start", "--param", "name=me", "-o", "json")
	if code != 0 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	wantAll(t, stdout, `"result": "hello me"`)
	p.ranBy(t, 2, `no parameter "nmae"`, "runs", "retry", "r1", "--from", "start", "--param", "nmae=me")

	changed := func(b *modpipe.Builder) { modpipe.Add(b, "bye", modpipe.Command{Run: "true"}) }
	for name, run := range map[string]func(context.Context, cli.Process) int{
		"the Go program greeter (build ":                    cli.Orchestrator,
		"Run `greeter runs retry r1 --from start --param ":  func(ctx context.Context, q cli.Process) int { return cli.Program(ctx, "other", changed, q) },
		"the definition of the Go program greeter has chan": func(ctx context.Context, q cli.Process) int { return cli.Program(ctx, "greeter", changed, q) },
	} {
		p.run = run
		p.ranBy(t, 2, name, "runs", "retry", "r1", "--from", "start", "--param", "name=me")
	}
}
