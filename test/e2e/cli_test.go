package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestValidation(t *testing.T) {
	for _, c := range []struct {
		name string
		yaml string
		say  []string // each must be on stderr; FILE is replaced by the file
	}{
		{"a cycle", "name: x\nmodules:\n  a: {needs: [c], run: 'true'}\n  b: {needs: [a], run: 'true'}\n  c: {needs: [b], run: 'true'}\n", []string{"cycle: ", "a → c → b → a"}},
		{"needs itself", "name: x\nmodules:\n  a: {needs: [a], run: 'true'}\n", []string{"FILE:3:"}},
		{"unknown need", "name: x\nmodules:\n  build: {run: 'true'}\n  a: {needs: [biuld], run: 'true'}\n", []string{"FILE:4:", "biuld", "build"}},
		{"unknown optional need", "name: x\nmodules:\n  build: {run: 'true'}\n  a: {needs: [{module: biuld, optional: true}], run: 'true'}\n", []string{"FILE:4:", "biuld"}},
		{"duplicate name", "name: x\nmodules:\n  a: {run: 'true'}\n  a: {run: 'true'}\n", []string{"FILE:4:"}},
		{"duplicate but for case", "name: x\nmodules:\n  a: {run: 'true'}\n  A: {run: 'true'}\n", []string{"FILE:4:"}},
		{"unknown key", "name: x\nmodules:\n  a: {rnu: 'true', run: 'true'}\n", []string{"FILE:3:7", "rnu", "did you mean", "run"}},
		{"unknown key at the top", "name: x\nfail-fats: true\nmodules:\n  a: {run: 'true'}\n", []string{"FILE:2:1", "fail-fast"}},
		{"bad durations", "name: x\nmodules:\n  a: {run: 'true', timeout: 10, grace: soon}\n", []string{"FILE:3:", "10", "soon"}},
		{"two documents", "name: x\nmodules:\n  a: {run: 'true'}\n---\nname: y\n", []string{"document"}},
		{"no modules", "name: x\nmodules: {}\n", []string{"FILE:2:"}},
		{"an empty file", "", []string{"FILE"}},
		{"run with command", "name: x\nmodules:\n  a: {run: 'true', command: [a]}\n", []string{"FILE:3:", "run", "command"}},
		{"neither", "name: x\nmodules:\n  a: {}\n", []string{"FILE:3:", "run"}},
		{"expression inside run", "name: x\nparams: {p: {}}\nmodules:\n  a: {run: 'echo ${{ params.p }}'}\n", []string{"FILE:4:", "env"}},
		{"condition that is not boolean", "name: x\nmodules:\n  a: {if: 1 + 1, run: 'true'}\n", []string{"FILE:3:", "bool"}},
		{"condition that names an unknown parameter", "name: x\nparams: {channel: {}}\nmodules:\n  a: {if: params.chanel == 'x', run: 'true'}\n", []string{"FILE:4:", "chanel", "channel"}},
		{"result read without a need", "name: x\nmodules:\n  a: {run: 'true'}\n  b: {env: {X: '${{ needs.a.outputs.x }}'}, run: 'true'}\n", []string{"FILE:4:", "needs.a"}},
		{"output that is not declared", "name: x\nmodules:\n  a: {run: 'true', outputs: [version]}\n  b: {needs: [a], env: {X: '${{ needs.a.outputs.vresion }}'}, run: 'true'}\n", []string{"FILE:4:", "vresion", "version"}},
		{"unknown status", "name: x\nmodules:\n  a: {run: 'true'}\n  b: {needs: [a], if: needs.a.status == 'sucess', run: 'true'}\n", []string{"FILE:4:", "sucess"}},
		{"failure() without always-run", "name: x\nmodules:\n  a: {run: 'true'}\n  b: {needs: [a], if: failure(), run: 'true'}\n", []string{"FILE:4:", "always-run"}},
		{"a tag", "name: x\nmodules:\n  a: {if: !failure(), run: 'true'}\n", []string{"FILE:3:", "quote"}},
		{"a limit of two sizes", "name: x\nmodules:\n  a: {limit: {name: l, max: 1}, run: 'true'}\n  b: {limit: {name: l, max: 2}, run: 'true'}\n", []string{"FILE:4:"}},
		{"a path that leaves the workspace", "name: x\nmodules:\n  a: {dir: ../.., run: 'true'}\n", []string{"FILE:3:"}},
		{"null", "name: x\nmodules:\n  a: {env: {X: }, run: 'true'}\n", []string{"FILE:3:"}},
		{"reserved", "name: x\non: push\nmodules:\n  a: {run: 'true'}\n", []string{"FILE:2:", "reserved"}},
		{"not YAML", "name: x\nmodules: [\n", []string{"FILE:"}},
		{"several together", "name: x\nnope: 1\nmodules:\n  a: {needs: [zzz]}\n  b: {run: 'true', timeout: x}\n", []string{"FILE:2:", "FILE:4:", "FILE:5:", "nope", "zzz"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t, standalone)
			file := p.file(t, strings.Replace(c.yaml, "run: 'true'", `run: 'touch "$D/ran"'`, 1))
			for _, args := range [][]string{{"validate", file}, {"plan", file}, {"run", file}} {
				o := p.orchestrator(t, args...)
				if o.exit() != 2 {
					t.Errorf("%s: exit %d, want 2", args[0], o.exit())
				}
				if o.stdout.Len() > 0 {
					t.Errorf("%s: stdout %q", args[0], o.stdout.String())
				}
				for _, text := range c.say {
					if text = strings.Replace(text, "FILE", filepath.Base(file), 1); !strings.Contains(o.stderrText(), text) {
						t.Errorf("%s does not say %q:\n%s", args[0], text, o.stderrText())
					}
				}
			}
			if found, _ := filepath.Glob(filepath.Join(p.workspace, "*", "ran")); len(found) > 0 {
				t.Error("something of a faulty pipeline ran")
			}
		})
	}
}

const trueYAML = "name: e2e\nmodules: {a: {run: 'true'}}\n"

func TestExitCodes(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *place) {
		ok := p.file(t, trueYAML)
		bad := p.file(t, "name: e2e\nmodules: {a: {run: exit 7}}\n")
		for _, c := range []struct {
			want int
			args []string
		}{
			{0, []string{"run", ok, "--run-id", "good"}},
			{5, []string{"run", ok, "--run-id", "good"}},
			{1, []string{"run", bad, "--run-id", "bad"}},
			{0, []string{"runs", "wait", "good"}},
			{1, []string{"runs", "wait", "bad"}},
			{0, []string{"runs", "show", "good"}},
			{5, []string{"runs", "show", "nobody"}},
			{5, []string{"runs", "logs", "nobody"}},
			{5, []string{"runs", "wait", "nobody"}},
			{5, []string{"runs", "cancel", "nobody"}},
			{5, []string{"runs", "cancel", "good"}},
			{0, []string{"validate", ok}},
			{0, []string{"plan", ok}},
			{2, []string{"run", "no-such-file.yaml"}},
			{2, []string{"run", ok, "--no-such-flag"}},
			{2, []string{"run", ok, "--only", "aa"}},
			{2, []string{"run", ok, "--param", "nope=1"}},
			{2, []string{"run", ok, "--run-id", "not a name"}},
			{2, []string{"run"}},
			{2, []string{"no-such-command"}},
			{0, []string{"version"}},
		} {
			t.Run(fmt.Sprint(c.args[:min(2, len(c.args))], c.want), func(t *testing.T) {
				if o := p.orchestrator(t, c.args...); o.exit() != c.want {
					t.Errorf("exit %d, want %d", o.exit(), c.want)
				}
			})
		}
	})
}

func TestUnreachableServer(t *testing.T) {
	p := newPlace(t, standalone)
	file := p.file(t, trueYAML)
	o := start(t, p.workspace, p.env(), binaries.orchestrator, "run", file, "--server", "nats://"+freeAddress(t), "--connect-timeout", "1s")
	if code := o.wait(t); code != 3 {
		t.Errorf("exit %d, want 3", code)
	}
}

func TestWorkerWaitingForNATSEndsAtASignal(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			p := newPlace(t, workers)
			url := "nats://" + freeAddress(t)
			w := p.workerAt(t, url, "w1")
			w.awaitText(t, strings.TrimPrefix(url, "nats://")) // it reports that it keeps trying
			w.signal(t, s)
			if code := w.wait(t); code != 0 {
				t.Errorf("exit %d, want 0", code)
			}
		})
	}
}

func TestSecondWorkerOfAName(t *testing.T) {
	p := newPlace(t, workers)
	p.server(t)
	p.worker(t, "twin")
	p.aWorkerIsThere(t)
	if code := p.worker(t, "twin").wait(t); code != 5 {
		t.Errorf("exit %d, want 5", code)
	}
}

func TestInterrupt(t *testing.T) {
	const yaml = `
name: e2e
modules:
  long: {run: 'echo pid $$; trap "echo told; exit 0" TERM; sleep 300 & wait'}
  behind: {needs: [long], run: 'true'}
  tidy: {needs: [long], always-run: true, run: 'true'}
  last: {needs: [tidy], always-run: true, run: 'true'}
`
	for s, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		t.Run(s.String(), func(t *testing.T) {
			inBothModes(t, func(t *testing.T, p *place) {
				r := p.start(t, yaml)
				pid := r.awaitNumber(t, "long", "pid")
				r.signal(t, s)
				res := r.result(t)
				res.want(t, code, map[string]string{"long": cancelled, "behind": cancelled, "tidy": succeeded, "last": succeeded})
				gone(t, pid)
				res.wantNoProcess(t)
				inOrder("long", "tidy", "last")(t, res)
				if res.Report.Status != cancelled {
					t.Errorf("the run is %q", res.Report.Status)
				}
			})
		})
	}
}

func TestInterruptTwice(t *testing.T) {
	const yaml = `
name: e2e
modules:
  long: {run: 'echo pid $$; exec sleep 300'}
  tidy: {needs: [long], always-run: true, grace: 5m, run: 'trap "" TERM INT; echo tidying $$; while :; do sleep 1; done'}
  last: {needs: [tidy], always-run: true, run: 'true'}
`
	inBothModes(t, func(t *testing.T, p *place) {
		r := p.start(t, yaml)
		r.awaitNumber(t, "long", "pid")
		r.signal(t, syscall.SIGINT)
		pid := r.awaitNumber(t, "tidy", "tidying")
		r.signal(t, syscall.SIGTERM)
		res := r.result(t)
		res.want(t, 130, map[string]string{"long": cancelled, "tidy": cancelled, "last": cancelled})
		gone(t, pid)
		res.wantNoProcess(t)
	})
}

func TestRunsCancel(t *testing.T) {
	const yaml = `
name: e2e
modules:
  long: {run: 'echo pid $$; exec sleep 300'}
  behind: {needs: [long], run: 'true'}
  tidy: {needs: [behind], always-run: true, run: 'true'}
`
	inBothModes(t, func(t *testing.T, p *place) {
		r := p.start(t, yaml, "--run-id", "to-cancel")
		pid := r.awaitNumber(t, "long", "pid")
		if o := p.orchestrator(t, "runs", "cancel", "to-cancel"); o.exit() != 0 {
			t.Errorf("runs cancel: exit %d", o.exit())
		}
		res := r.result(t)
		res.want(t, 1, map[string]string{"long": cancelled, "behind": cancelled, "tidy": succeeded})
		gone(t, pid)
		res.wantNoProcess(t)
		if o := p.orchestrator(t, "runs", "wait", "to-cancel"); o.exit() != 1 {
			t.Errorf("runs wait: exit %d, want 1", o.exit())
		}
	})
}

func TestCommandsThatShow(t *testing.T) {
	const yaml = `
name: shown
modules:
  a: {run: 'echo v=1 >>"$MODPIPE_OUTPUT"'}
  b: {needs: [a], matrix: {n: [1, 2]}, run: 'true'}
`
	inBothModes(t, func(t *testing.T, p *place) {
		file := p.file(t, yaml)
		run := p.orchestrator(t, "run", file, "--run-id", "shown-1", "-o", "json", "--progress", "quiet")
		var printed, shown report
		if err := json.Unmarshal(run.stdout.Bytes(), &printed); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(p.orchestrator(t, "runs", "show", "shown-1", "-o", "json").stdout.Bytes(), &shown); err != nil {
			t.Fatal(err)
		}
		if a, b := fmt.Sprint(printed.statuses()), fmt.Sprint(shown.statuses()); a != b || len(printed.Modules) != 3 {
			t.Errorf("run prints %s, runs show %s", a, b)
		}
		for _, c := range []struct{ args, say string }{
			{"runs list", "shown-1"},
			{"runs list -o name", "shown-1"},
			{"runs list -o json", `"shown-1"`},
			{"runs show shown-1", "succeeded"},
			{"plan " + file, "a"},
			{"plan -o json " + file, `"a"`},
			{"graph " + file, "digraph"},
			{"graph -o mermaid " + file, "-->"},
			{"schema", "not-in-parallel"},
			{"completion bash", "orchestrator"},
		} {
			o := p.orchestrator(t, strings.Fields(c.args)...)
			if o.exit() != 0 || !strings.Contains(o.stdout.String(), c.say) {
				t.Errorf("%s: exit %d, stdout without %q: %s", c.args, o.exit(), c.say, tail(&o.stdout))
			}
		}
		if p.mode == workers {
			for _, args := range [][]string{{"workers", "list"}, {"workers", "list", "-o", "name"}} {
				if o := p.orchestrator(t, args...); o.exit() != 0 || !strings.Contains(o.stdout.String(), "w1") || !strings.Contains(o.stdout.String(), "w2") {
					t.Errorf("%v: exit %d: %s", args, o.exit(), tail(&o.stdout))
				}
			}
		}
	})
}

func TestStreams(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *place) {
		file := p.file(t, "name: e2e\nmodules:\n  good: {run: echo from good}\n  bad: {needs: [good], run: 'echo last words; exit 1'}\n")
		o := p.orchestrator(t, "run", file, "--progress", "plain")
		if o.exit() != 1 || o.stdout.Len() > 0 {
			t.Errorf("exit %d, stdout %q; want 1 and nothing", o.exit(), o.stdout.String())
		}
		said := o.stderrText()
		for _, text := range []string{"good", "from good", "last words", "failed"} {
			if !strings.Contains(said, text) {
				t.Errorf("it does not say %q", text)
			}
		}
		first, _, _ := strings.Cut(said, "\n")
		if where := map[mode]string{standalone: "embedded", workers: p.url}[p.mode]; !strings.Contains(first, where) {
			t.Errorf("the first line %q does not say %q", first, where)
		}
	})
}

func TestVariablesAreFlags(t *testing.T) {
	p := newPlace(t, workers)
	p.server(t)
	p.worker(t, "w1")
	file := p.file(t, trueYAML)
	o := start(t, p.workspace, p.env("NATS_URL="+p.url, "MODPIPE_ORCHESTRATOR_RUN_ID=from-env", "MODPIPE_ORCHESTRATOR_PROGRESS=plain"), binaries.orchestrator, "run", file)
	if code := o.wait(t); code != 0 || !strings.Contains(o.stderrText(), "NATS_URL") {
		t.Errorf("exit %d: %s", code, o.stderrText())
	}
	if o := p.orchestrator(t, "runs", "show", "from-env"); o.exit() != 0 {
		t.Errorf("the run's id was not taken from the environment: exit %d", o.exit())
	}
}

func TestRunBesideARunOnOneStore(t *testing.T) {
	const yaml = "name: e2e\nmodules: {a: {run: 'read _ <\"$D/gate\"'}}\n"
	p := newPlace(t, standalone)
	dir := p.dir(t)
	gate := newGate(t, dir, "gate")
	first := p.startIn(t, dir, p.file(t, yaml), "--run-id", "first")
	first.await(t, event{Event: "module.started", Module: "a"})
	p.run(t, trueYAML, "--run-id", "second").want(t, 0, all(succeeded, "a"))
	third := p.orchestrator(t, "run", p.file(t, trueYAML), "--run-id", "third")
	if third.exit() != 0 || !strings.Contains(third.stderrText(), "temporary") {
		t.Errorf("exit %d; it does not say that it takes a temporary store: %s", third.exit(), third.stderrText())
	}
	if o := p.orchestrator(t, "runs", "list", "-o", "name"); strings.TrimSpace(o.stdout.String()) != "first" {
		t.Errorf("runs list while the first holds the store: %q", o.stdout.String())
	}
	gate.open(t)
	first.result(t).want(t, 0, all(succeeded, "a"))
}

func TestReportOfAFileThatCannotBeWritten(t *testing.T) {
	p := newPlace(t, standalone)
	file := p.file(t, trueYAML)
	missing := filepath.Join(p.home, "no", "such", "directory", "report.json")
	if o := p.orchestrator(t, "run", file, "--report", missing); o.exit() == 0 {
		t.Errorf("exit 0 although the report could not be written")
	}
	if _, err := os.Stat(missing); !os.IsNotExist(err) {
		t.Error(err)
	}
}

// A comparison with a value that is not an option of a choice is probably a mistake. It
// causes a warning, and the pipeline runs.
func TestWarningsOfAFile(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *place) {
		const yaml = "name: e2e\nparams: {channel: {type: choice, options: [dev, prod]}}\nmodules:\n  a: {if: \"params.channel != 'Prod'\", run: 'true'}\n"
		const text = `no option of parameter channel is "Prod"; write "prod": comparisons regard case`
		r := p.run(t, yaml)
		r.want(t, 0, all(succeeded, "a"))
		warned := 0
		for _, e := range r.Events {
			if e.Event == "warning" && strings.Contains(e.Text, ":4:30: "+text) {
				warned++
			}
		}
		if warned != 1 {
			t.Errorf("%d events warn", warned)
		}
		file := filepath.Join(t.TempDir(), "w.yaml")
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		o := start(t, p.workspace, p.env(), binaries.orchestrator, "validate", "-o", "json", file)
		if code := o.wait(t); code != 0 {
			t.Errorf("exit %d", code)
		}
		var found []struct {
			Valid    bool
			Warnings []struct {
				Line, Column     int
				Text, Suggestion string
			}
		}
		if err := json.Unmarshal(o.stdout.Bytes(), &found); err != nil {
			t.Fatal(err)
		}
		if !found[0].Valid || len(found[0].Warnings) != 1 || found[0].Warnings[0].Line != 4 {
			t.Errorf("validate says %+v", found)
		}
		if !strings.Contains(o.stderr.String(), file+":4:30: "+text) {
			t.Errorf("stderr: %s", o.stderr.String())
		}
	})
}
