package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/cli"
)

const demanding = `
name: demanding
modules:
  a: {requires: {tags: [gpu], labels: {site: berlin}, tools: ["mytool >= 2.1"]}, run: 'echo ran >>ran'}
`

// TestRunOffersTheCapabilitiesOfItsFlags: the worker inside `run` has the tags, labels
// and tools that are given, from the command line and from the environment.
func TestRunOffersTheCapabilitiesOfItsFlags(t *testing.T) {
	p := newProgram(t, cli.Orchestrator)
	p.write(t, "x.yaml", demanding)
	p.env = append(p.env, "MODPIPE_ORCHESTRATOR_TAGS=gpu,fast")
	code, _, stderr := p.exec(t, "run", "x.yaml", "--labels", "Site=Berlin", "--tools", "mytool=2.4", "--run-id", "r1")
	if ran, err := os.ReadFile(filepath.Join(p.dir, "ran")); code != 0 || string(ran) != "ran\n" {
		t.Errorf("exit code %d, %q, %v\n%s", code, ran, err, stderr)
	}
}

// TestOnlyReplacesDetectedTools: only: offers what follows alone.
func TestOnlyReplacesDetectedTools(t *testing.T) {
	p := newProgram(t, cli.Orchestrator)
	p.write(t, "x.yaml", `{name: x, modules: {a: {requires: {tools: [git]}, queue-timeout: 10ms, run: "true"}}}`)
	code, _, stderr := p.exec(t, "run", "x.yaml", "--tools", "only:sh,mytool")
	if code != 4 || !strings.Contains(stderr, "git") {
		t.Errorf("exit code %d, want 4\n%s", code, stderr)
	}
}

// TestOffersWithoutAWorker: flags of the worker inside this process are an
// error where there is none, and bad values are faults before anything runs.
func TestOffersWithoutAWorker(t *testing.T) {
	p := newProgram(t, cli.Orchestrator)
	p.write(t, "x.yaml", demanding)
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"handed over":    {[]string{"run", "x.yaml", "--detach", "--tags", "gpu"}, []string{"--tags is for a run that is carried out here"}},
		"on a server":    {[]string{"run", "x.yaml", "-s", "nats://127.0.0.1:1", "--labels", "a=b"}, []string{"--labels is for a worker inside this process", "add --local N"}},
		"bad values":     {[]string{"run", "x.yaml", "--labels", "nope", "--tools", "git=new"}, []string{"2 faults", `--labels: "nope"`, `--tools: "git=new"`}},
		"bad for dev":    {[]string{"dev", "--tools", "git=new", "--tags", " "}, []string{"--tools"}},
		"bad for retry":  {[]string{"runs", "retry", "x", "--labels", "nope"}, []string{"--labels"}},
		"bad for resume": {[]string{"resume", "x", "--labels", "nope"}, []string{"--labels"}},
		"none in serve":  {[]string{"serve", "--tags", "a"}, []string{"unknown flag --tags"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := p.exec(t, c.args...)
			if code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			wantAll(t, stderr, c.want...)
		})
	}
}
