package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/modpipe/modpipe/cli"
	"github.com/modpipe/modpipe/report"
)

const ciFile = `
name: ci
params:
  channel: {type: choice, options: [dev, prod], default: dev}
modules:
  generate: {run: "echo list='[\"a\",\"b\"]' >> $MODPIPE_OUTPUT", outputs: [list]}
  lint: {run: "false", ignore-failure: true}
  build:
    needs: [generate]
    matrix: {os: [linux, windows], arch: [amd64, arm64], exclude: [{os: windows, arch: arm64}]}
    run: printf 'built\nfor '$MODPIPE_MATRIX_OS
  test:
    needs: [generate, build, {module: lint, optional: true}]
    matrix: {shard: "${{ fromJSON(needs.generate.outputs.list) }}"}
    run: echo test $MODPIPE_MATRIX_SHARD
  "notify": {needs: [test], always-run: true, run: echo bye}
`

func TestPlanAndGraph(t *testing.T) {
	for _, c := range []struct {
		golden string
		args   []string
	}{
		{"plan.txt", []string{"plan", "ci.yaml"}},
		{"plan.json", []string{"plan", "ci.yaml", "-o", "json"}},
		{"plan_only.yaml", []string{"plan", "-o", "yaml", "--only", "build", "ci.yaml"}},
		{"plan_name.txt", []string{"plan", "ci.yaml", "--output=name"}},
		{"graph.dot", []string{"graph", "ci.yaml"}},
		{"graph.mermaid", []string{"graph", "ci.yaml", "-omermaid"}},
	} {
		t.Run(c.golden, func(t *testing.T) {
			p := newProgram(t, cli.Orchestrator)
			p.write(t, "ci.yaml", ciFile)
			code, stdout, stderr := p.exec(t, c.args...)
			if code != 0 || stderr != "" {
				t.Fatalf("exit code %d, stderr %q", code, stderr)
			}
			golden(t, c.golden, stdout)
		})
	}
}

// TestFaults: every fault of flags, environment and configuration is there at
// once with its origin, and the exit code is 2.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		config string
		env    []string
		args   []string
		want   []string
		never  []string
	}{
		"all origins at once": {
			config: "reconnect-timeout: soon\nservr: nats://x\n",
			env:    []string{"MODPIPE_ORCHESTRATOR_MAX_PARALLEL=many", "MODPIPE_ORCHESTRATOR_LABLE=x", "MODPIPE_RUN_ID=a", "MODPIPE_MODULE=b"},
			args:   []string{"run", "ci.yaml", "--worker-ttl", "1ms", "--run-id", "a b", "--onyl", "x", "--env", "MODPIPE_X=1"},
			want: []string{
				"8 faults", `--worker-ttl: 1ms is less than 1s`, `--run-id: "a b"`, `unknown flag --onyl of "orchestrator run": did you mean --only?`,
				`--max-parallel from MODPIPE_ORCHESTRATOR_MAX_PARALLEL: "many" is not a whole number`,
				`MODPIPE_ORCHESTRATOR_LABLE in the environment matches no flag: did you mean MODPIPE_ORCHESTRATOR_LABEL?`,
				`modpipe/orchestrator.yaml:2:1: unknown key "servr": did you mean server?`, "--env: MODPIPE_X cannot be set",
			},
			never: []string{"MODPIPE_RUN_ID", "MODPIPE_MODULE"},
		},
		"configuration": {
			config: "label: {a: b}\nlabel: {c: d}\nmax-parallel: 0\nreport:\nonly: [[a]]\n",
			args:   []string{"run", "ci.yaml"},
			want: []string{
				`orchestrator.yaml:2:1: "label" is set twice`, `--max-parallel from `, `orchestrator.yaml:3:1: 0 is less than 1`,
				`orchestrator.yaml:4:1: "report" needs a value`, `orchestrator.yaml:5:1: "only" needs a value`,
			},
		},
		"file of variables":   {args: []string{"run", "ci.yaml", "--env-file", "nix", "--run-id", "a b", "--env-file", "ci.yaml"}, want: []string{"--env-file: open ", "nix: no such file", "ci.yaml:2: ", `--run-id: "a b" is not`}},
		"no argument":         {args: []string{"run"}, want: []string{"an argument is missing: run FILE"}},
		"too many":            {args: []string{"run", "a", "b"}, want: []string{`unexpected argument "b"`}},
		"no file":             {args: []string{"run", "nix.yaml"}, want: []string{"there is no file nix.yaml"}},
		"progress":            {args: []string{"version", "--progress", "x"}, want: []string{`--progress: "x" is not one of`}},
		"output":              {args: []string{"graph", "ci.yaml", "-o", "json"}, want: []string{`--output: "json" is not one of dot, mermaid`}},
		"command":             {args: []string{"rnu"}, want: []string{"did you mean run"}},
		"command of a group":  {args: []string{"runs", "lst"}, want: []string{`unknown command "lst" for "orchestrator runs": did you mean list?`}},
		"no command":          {args: []string{"workers"}, want: []string{"orchestrator workers needs a command"}},
		"value missing":       {args: []string{"run", "ci.yaml", "--param"}, want: []string{"flag needs an argument: --param"}},
		"selection":           {args: []string{"plan", "ci.yaml", "--only", "biuld"}, want: []string{"build"}},
		"parameter":           {args: []string{"plan", "ci.yaml", "--param", "channel=x"}, want: []string{"channel"}},
		"configuration named": {args: []string{"version", "--config", "nix"}, want: []string{"--config: open nix"}},
		"report, a directory": {args: []string{"run", "ci.yaml", "--report", "."}, want: []string{"--report: . is a directory"}},
		"report, /proc":       {args: []string{"run", "ci.yaml", "--report", "/proc/r.json"}, want: []string{"--report: nothing can be written into /proc: "}},
		"report":              {args: []string{"run", "ci.yaml", "--report", "nix/r.json"}, want: []string{"--report: there is no directory nix"}},
		"completion":          {args: []string{"completion", "tcsh"}, want: []string{`unknown command "tcsh" for "orchestrator completion"`}},
		"no completion":       {args: []string{"completion"}, want: []string{"orchestrator completion needs a command"}},
		"listen":              {args: []string{"run", "ci.yaml", "--listen", "8"}, want: []string{`--listen: "8" is not HOST:PORT`}},
		"detach and report":   {args: []string{"run", "ci.yaml", "--detach", "--report", "r.json", "--local", "2"}, want: []string{"--report is for a run that is carried out here", "--local is for a run"}},
		"detach nowhere":      {args: []string{"run", "ci.yaml", "--detach"}, want: []string{"none serves this workspace", "orchestrator dev"}},
		"serve embedded":      {args: []string{"serve", "--listen", "127.0.0.1:0", "-s", "x"}, want: []string{"are for a server inside this process"}},
		"serve as":            {args: []string{"serve", "--name", "a b", "--listen", "x"}, want: []string{`--name: "a b" is not`, `"x" is not HOST:PORT`}},
		"dev elsewhere":       {args: []string{"dev", "-s", "x"}, want: []string{"dev embeds its NATS server"}},
		"listen and server":   {args: []string{"run", "ci.yaml", "--listen", "127.0.0.1:0", "-s", "x"}, want: []string{"--listen is for the embedded server"}},
		"context":             {env: []string{"NATS_CONTEXT=nix"}, args: []string{"runs", "list"}, want: []string{`--context from NATS_CONTEXT: context not found: "nix"`}},
		"credentials":         {env: []string{"NATS_CREDS=/nix"}, args: []string{"runs", "list"}, want: []string{"--creds from NATS_CREDS: stat /nix"}},
		"no address":          {env: []string{"NATS_URL=nats://a:4222,me:secret@b:99999"}, args: []string{"runs", "list", "--creds", "/nix"}, want: []string{"--server from NATS_URL: nats://b:99999 has an invalid port", "--creds: stat /nix"}, never: []string{"secret"}},
		"an address of words": {args: []string{"run", "ci.yaml", "-s", "ht!tp://x"}, want: []string{"--server: nats://… is no address of a server"}},
		"half a certificate":  {args: []string{"runs", "list", "-s", "x", "--tlscert", "/dev/null"}, want: []string{"belong together"}},
		"secrets are no flag": {args: []string{"runs", "list", "--token", "x"}, want: []string{"unknown flag --token"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProgram(t, cli.Orchestrator)
			p.write(t, "ci.yaml", ciFile)
			p.write(t, ".config/modpipe/orchestrator.yaml", c.config)
			p.env = append(p.env, c.env...)
			code, stdout, stderr := p.exec(t, c.args...)
			if code != 2 || stdout != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
			wantAll(t, stderr, c.want...)
			for _, n := range c.never {
				if strings.Contains(stderr, n) {
					t.Errorf("%q in\n%s", n, stderr)
				}
			}
		})
	}
}

// TestPrecedence: flag, then the program's variable, then the nats CLI's, then
// the file. An address where nothing listens says which of them counted.
func TestPrecedence(t *testing.T) {
	const none = "nats://127.0.0.1:1"
	for name, c := range map[string]struct {
		config string
		env    []string
		args   []string
		want   string
	}{
		"file":            {config: "server: " + none, want: none + ", from orchestrator.yaml"},
		"NATS_URL":        {config: "server: x", env: []string{"NATS_URL=" + none}, want: none + ", from NATS_URL"},
		"own variable":    {env: []string{"NATS_URL=x", "MODPIPE_ORCHESTRATOR_SERVER=" + none}, want: none + ", from MODPIPE_ORCHESTRATOR_SERVER"},
		"flag":            {env: []string{"MODPIPE_ORCHESTRATOR_SERVER=x"}, args: []string{"-s", none}, want: none + ", from --server"},
		"no credentials":  {args: []string{"-s", "nats://me:secret@127.0.0.1:1"}, want: none + ", from --server"},
		"empty variable":  {config: "server: " + none, env: []string{"NATS_URL="}, want: none + ", from orchestrator.yaml"},
		"another context": {config: "context: local", want: none + ", from orchestrator.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProgram(t, cli.Orchestrator)
			p.write(t, "ci.yaml", ciFile)
			p.write(t, ".config/modpipe/orchestrator.yaml", c.config+"\nconnect-timeout: 20ms\n")
			t.Setenv("XDG_CONFIG_HOME", filepath.Join(p.dir, ".config")) // the library of contexts looks there itself
			p.write(t, ".config/nats/context/local.json", `{"url":"`+none+`","token":"secret"}`)
			p.env = append(p.env, c.env...)
			code, _, stderr := p.exec(t, append([]string{"run", "ci.yaml"}, c.args...)...)
			if code != 3 {
				t.Errorf("exit code %d", code)
			}
			wantAll(t, stderr, c.want+"\n", "cannot be reached")
			if strings.Contains(stderr, "secret") {
				t.Errorf("a secret in\n%s", stderr)
			}
		})
	}
}

// TestRunAndLookBack runs a pipeline embedded, and reads its store afterwards.
func TestRunAndLookBack(t *testing.T) {
	p := newProgram(t, cli.Orchestrator)
	p.write(t, "ci.yaml", ciFile)
	code, stdout, stderr := p.exec(t, "run", "ci.yaml", "--run-id", "one", "-o", "name", "--report", "r.json", "--label", "a=b")
	if code != 0 || stdout != "one\n" {
		t.Fatalf("exit code %d, stdout %q, stderr %s", code, stdout, stderr)
	}
	if !strings.HasPrefix(stderr, "embedded, ") {
		t.Errorf("the first line does not say where it runs:\n%s", stderr)
	}
	var rep report.Report
	text, err := os.ReadFile(filepath.Join(p.dir, "r.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &rep); err != nil || rep.Run != "one" || len(rep.Modules) != 8 {
		t.Errorf("report %+v, %v", rep, err)
	}
	for _, c := range []struct {
		code int
		want string
		args string
	}{
		{0, "one\n", "runs list -o name"},
		{0, "built\nfor linux", "runs logs one|build (os=linux, arch=amd64)"},
		{0, "test (shard=b) | test b\n", "runs logs latest|test"},
		{0, "one\n", "runs wait latest -o name"},
		{0, `"run": "one"`, "runs show one -o json"},
		{0, "labels      a=b", "runs show latest"},
		{5, "there is no run two", "runs show two"},
		{5, "has ended already", "runs cancel one"},
		{5, `has no module "tset"`, "runs logs one tset"},
		{5, "has had 1 attempt", "runs logs one notify --attempt 2"},
		{5, "exists already", "run ci.yaml --run-id one"},
		{5, `there is no worker "x"`, "workers drain x"},
		{0, "NAME ", "workers list"},
		{5, "there is no store", "runs show one --store elsewhere"},
	} {
		before, last, more := strings.Cut(c.args, "|")
		args := strings.Fields(before)
		if more {
			args = append(args, last)
		}
		code, stdout, stderr := p.exec(t, args...)
		if code != c.code {
			t.Errorf("%s: exit code %d, not %d", c.args, code, c.code)
		}
		wantAll(t, stdout+stderr, c.want)
	}
}

func TestExitCodesOfRuns(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		code int
		want string
	}{
		"failed":    {`{name: x, modules: {a: {run: "echo why; exit 7"}}}`, 1, "--- a: failed"},
		"no worker": {`{name: x, modules: {a: {run: "true", requires: {tags: [gpu]}, queue-timeout: 100ms}}}`, 4, "tag gpu"},
		"deadline":  {`{name: x, deadline: 200ms, modules: {a: {run: sleep 60}}}`, 4, "deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProgram(t, cli.Orchestrator)
			p.write(t, "x.yaml", c.file)
			code, _, stderr := p.exec(t, "run", "x.yaml", "--progress", "quiet", "--report", "r.json")
			if code != c.code {
				t.Errorf("exit code %d, not %d", code, c.code)
			}
			rep, err := os.ReadFile(filepath.Join(p.dir, "r.json"))
			if err != nil {
				t.Fatal(err)
			}
			wantAll(t, stderr+string(rep), c.want)
		})
	}
}

// TestInterrupt: the first signal cancels in order, and the code names it.
func TestInterrupt(t *testing.T) {
	p := newProgram(t, cli.Orchestrator)
	p.write(t, "x.yaml", `{name: x, modules: {a: {run: "echo > started; exec sleep 60"}, b: {needs: [a], always-run: true, run: touch cleaned}}}`)
	started := filepath.Join(p.dir, "started")
	if err := syscall.Mkfifo(started, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		if _, err := os.ReadFile(started); err == nil { // returns when the module has written
			p.signals <- syscall.SIGTERM
		}
	}()
	code, _, stderr := p.exec(t, "run", "x.yaml", "--report", "r.json")
	if code != 143 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	wantAll(t, stderr, "SIGTERM: cancelling the run", "run cancelled")
	for _, f := range []string{"cleaned", "r.json"} {
		if _, err := os.Stat(filepath.Join(p.dir, f)); err != nil {
			t.Error(err)
		}
	}
}

// TestWorkerLeavesWhileItWaits: a signal ends a worker that NATS has not answered.
func TestWorkerLeavesWhileItWaits(t *testing.T) {
	p := newProgram(t, cli.Worker)
	p.signals <- os.Interrupt
	if code, _, stderr := p.exec(t, "-s", "nats://127.0.0.1:1"); code != 0 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

func TestWorkerFaults(t *testing.T) {
	p := newProgram(t, cli.Worker)
	p.env = append(p.env, "MODPIPE_WORKER_TAGS=a,b", "MODPIPE_ORCHESTRATOR_X=1", "MODPIPE_WORKER=me")
	code, _, stderr := p.exec(t, "--name", "a b", "--labels", "x", "--workspace", "/nix", "--max-parallel", "0", "--tools", "git=", "--pass-env", "A[", "-s", "nats://127.0.0.1:1")
	if code != 2 {
		t.Errorf("exit code %d", code)
	}
	wantAll(t, stderr, "6 faults", `--tools: "git=": want NAME or NAME=VERSION`, `--pass-env: "A[" is no pattern`, `--name: "a b"`, `--labels: "x": want KEY=VALUE`, "--workspace: /nix is not a directory", "--max-parallel: 0 is less than 1")
	if code, _, stderr := p.exec(t, "-s", "embedded"); code != 2 || !strings.Contains(stderr, "a worker embeds no server") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

// TestSurface: what else is asked for on stdout.
func TestSurface(t *testing.T) {
	bad := "name: x\nmodules:\n  a: {run: x, need: [b]}\n  b: {needs: [c], run: x}\n"
	for name, c := range map[string]struct {
		code   int
		args   []string
		stdout string
		stderr string
	}{
		"validate":           {0, []string{"validate", "ci.yaml"}, "ci.yaml: valid, 7 modules\n", ""},
		"validate several":   {2, []string{"validate", "bad.yaml", "ci.yaml", "-o", "name"}, "ci.yaml\n", "bad.yaml:3:"},
		"faults as JSON":     {2, []string{"validate", "bad.yaml", "-o", "json"}, `"line": 3`, `did you mean "needs"`},
		"required parameter": {0, []string{"validate", "required.yaml"}, "required.yaml: valid", ""},
		"schema":             {0, []string{"schema"}, `"$schema"`, ""},
		"version":            {0, []string{"version", "-o", "yaml"}, "program: orchestrator\n", ""},
		"completion":         {0, []string{"completion", "fish"}, "complete -c orchestrator", ""},
		"modules completed":  {0, []string{"__complete", "run", "ci.yaml", "--only", ""}, "build\nbuild (os=linux, arch=amd64)\n", ""},
		"formats completed":  {0, []string{"__complete", "graph", "ci.yaml", "-o", ""}, "dot\nmermaid\n", ""},
		"help":               {0, []string{"run", "--help"}, "Exit codes:", ""},
		"nothing has run":    {0, []string{"runs", "list"}, "RUN  PIPELINE", "nothing has run here yet"},
		"no runs as JSON":    {0, []string{"runs", "list", "-o", "json"}, "[]\n", "nothing has run here yet"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProgram(t, cli.Orchestrator)
			p.write(t, "ci.yaml", ciFile)
			p.write(t, "bad.yaml", bad)
			p.write(t, "required.yaml", "name: x\nparams: {p: {required: true}}\nmodules: {a: {run: x}}\n")
			code, stdout, stderr := p.exec(t, c.args...)
			if code != c.code {
				t.Errorf("exit code %d, not %d", code, c.code)
			}
			wantAll(t, stdout, c.stdout)
			wantAll(t, stderr, c.stderr)
		})
	}
}
