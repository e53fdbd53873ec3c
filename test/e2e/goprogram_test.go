package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// goProgram builds a program with its own pipeline, once.
func goProgram(t *testing.T, pkg string) string {
	t.Helper()
	build, _ := goPrograms.LoadOrStore(pkg, sync.OnceValues(func() (string, error) {
		path := filepath.Join(binaries.dir, filepath.Base(pkg))
		args := []string{"build", "-o", path}
		if *raceBinaries {
			args = append(args, "-race")
		}
		cmd := exec.CommandContext(context.Background(), "go", append(args, pkg)...) // it outlives the test that asks first
		cmd.Dir = root
		text, err := cmd.CombinedOutput()
		return path + "\n" + string(text), err
	}))
	text, err := build.(func() (string, error))()
	path, output, _ := strings.Cut(text, "\n")
	if err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, output)
	}
	return path
}

var goPrograms sync.Map // package → func() (string, error)

// startProgram starts a run of a program's pipeline.
func (p *place) startProgram(t *testing.T, path string, args ...string) *run {
	t.Helper()
	dir := p.dir(t)
	reportFile := filepath.Join(dir, "report.json")
	all := append([]string{"run", "--report", reportFile, "--progress", "json"}, p.connection()...)
	return &run{start(t, p.workspace, p.env(), path, append(all, args...)...), dir, reportFile}
}

func (p *place) programWorker(t *testing.T, path, name string, args ...string) *program {
	t.Helper()
	return start(t, p.workspace, p.env(), path, append([]string{"worker", "--server", p.url, "--name", name}, args...)...)
}

var releaseModules = all(succeeded, "checkout", "version", "lint", "build (os=linux, arch=amd64)", "build (os=linux, arch=arm64)",
	"build (os=darwin, arch=arm64)", "build (os=windows, arch=amd64)", "test (shard=0)", "test (shard=1)", "test (shard=2)",
	"tested", "package", "checksum", "publish", "notify")

func TestReleaseStandalone(t *testing.T) {
	p := newPlace(t, standalone)
	release := goProgram(t, "./examples/release")
	p.startProgram(t, release).result(t).want(t, 0, releaseModules)
	p.startProgram(t, release, "--isolated").result(t).want(t, 0, releaseModules)
}

func TestReleaseOnWorkers(t *testing.T) {
	p := newPlace(t, workers)
	p.server(t)
	release := goProgram(t, "./examples/release")
	p.programWorker(t, release, "one")
	p.programWorker(t, release, "two", "--isolated")
	p.startProgram(t, release, "--param", "channel=stable").result(t).want(t, 0, releaseModules)
}

// The worker is killed while it runs a module that holds a key: another one
// runs it again, with a larger token.
func TestProgramKilledInTheMiddle(t *testing.T) {
	for _, isolation := range []string{"--isolated=false", "--isolated=true"} {
		t.Run(isolation, func(t *testing.T) {
			p := newPlace(t, workers)
			p.server(t)
			probe := goProgram(t, "./test/e2e/testdata/probe")
			both := map[string]*program{"one": p.programWorker(t, probe, "one", isolation), "two": p.programWorker(t, probe, "two", isolation)}
			dir := t.TempDir()
			r := p.startProgram(t, probe, "--param", "dir="+dir, "--skip-category", "bad")
			lost := r.await(t, event{Event: "module.started", Module: "gate", Attempt: 1}).Worker
			before := r.awaitNumber(t, "gate", "token")
			both[lost].kill(t)
			if again := r.await(t, event{Event: "module.started", Module: "gate", Attempt: 2}); again.Worker == lost {
				t.Errorf("the second attempt is on %s, which was killed", lost)
			}
			if err := os.WriteFile(filepath.Join(dir, "gate"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			res := r.result(t)
			res.want(t, 0, map[string]string{"first": succeeded, "gate": succeeded, "captured": succeeded, "stubborn": "skipped", "exits": "skipped"})
			if got := res.Report.module(t, "gate").attempts(); got != "lost, succeeded" {
				t.Errorf("attempts: %s", got)
			}
			tokens := 0
			for _, e := range res.Events {
				if e.Event == "module.output" && e.Module == "gate" && strings.HasPrefix(e.Text, "token ") {
					tokens++
					if e.Attempt == 2 && e.Text <= "token "+strconv.Itoa(before) && len(e.Text) <= len("token "+strconv.Itoa(before)) {
						t.Errorf("the second attempt has %s, the first had %d", e.Text, before)
					}
				}
			}
			if tokens != 2 {
				t.Errorf("%d attempts have said their token", tokens)
			}
		})
	}
}

// A worker without the program takes nothing, and neither does one whose definition gives
// another graph. The run reports what is missing.
func TestWorkerOfAnotherProgram(t *testing.T) {
	p := newPlace(t, workers)
	p.server(t)
	probe := goProgram(t, "./test/e2e/testdata/probe")
	p.worker(t, "plain")
	p.aWorkerIsThere(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "gate"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := p.startProgram(t, probe, "--param", "dir="+dir, "--skip-category", "bad")
	waiting := r.await(t, event{Event: "waiting", Module: "first"})
	if !strings.HasPrefix(waiting.Missing, "program probe (build ") {
		t.Errorf("missing: %q", waiting.Missing)
	}
	other := start(t, p.workspace, p.env("PROBE_EXTRA=extra"), probe, "worker", "--server", p.url, "--name", "other")
	other.awaitText(t, "connected")
	p.programWorker(t, probe, "same")
	res := r.result(t)
	res.want(t, 0, map[string]string{"first": succeeded, "gate": succeeded, "captured": succeeded, "stubborn": "skipped", "exits": "skipped"})
	list := start(t, p.workspace, p.env(), probe, "workers", "list", "--server", p.url)
	if code, n := list.wait(t), strings.Count(list.stdout.String(), " probe (build "); code != 0 || n != 2 || strings.Count(list.stdout.String(), " (graph ") != 2 {
		t.Errorf("workers list: exit %d; want two workers of probe, with different graphs:\n%s", code, list.stdout.String())
	}
	for _, m := range res.Report.Modules {
		for _, a := range m.Attempts {
			if a.Worker != "same" {
				t.Errorf("%s was run by %s", m.Name, a.Worker)
			}
		}
	}
}

func TestIsolationRevealsSharedMemory(t *testing.T) {
	p := newPlace(t, standalone)
	probe := goProgram(t, "./test/e2e/testdata/probe")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "gate"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ isolated, captured string }{{"--isolated=false", "kept in memory"}, {"--isolated=true", ""}} {
		r := p.startProgram(t, probe, "--param", "dir="+dir, test.isolated, "--skip", "exits")
		res := r.result(t)
		if got := resultOf(t, r.reportFile, "captured"); got != test.captured {
			t.Errorf("%s: captured %q, want %q", test.isolated, got, test.captured)
		}
		stubborn := res.Report.module(t, "stubborn")
		if stubborn.Status != "ignored_failure" || !strings.Contains(stubborn.Error, "does not respect its context") {
			t.Errorf("%s: stubborn is %s: %s", test.isolated, stubborn.Status, stubborn.Error)
		}
	}
	r := p.startProgram(t, probe, "--param", "dir="+dir, "--isolated", "--only", "exits").result(t)
	if e := r.Report.module(t, "exits"); !strings.Contains(e.Error, "exit status 3") {
		t.Errorf("exits is %s: %s", e.Status, e.Error)
	}
}

// resultOf returns the result of a Go module in a report.
func resultOf(t *testing.T, file, module string) any {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Modules []struct {
			Name   string
			Result any
		}
	}
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	for _, m := range report.Modules {
		if m.Name == module {
			return m.Result
		}
	}
	t.Fatalf("no module %s", module)
	return nil
}

// TestReleaseOrchestratorKilled: the program's run is killed in the middle,
// and another process of the program ends it. Committed results stay, and
// was called once.
func TestReleaseOrchestratorKilled(t *testing.T) {
	release := goProgram(t, "./examples/release")
	for _, m := range []mode{standalone, workers} {
		t.Run(string(m), func(t *testing.T) {
			p := newPlace(t, m)
			if m == workers {
				p.server(t)
				p.programWorker(t, release, "one", "--max-parallel", "1")
			} else {
				p.runArgs = []string{"--max-parallel", "1"}
			}
			id, r := p.killedInTheMiddle(t, release)
			before := r.endedModules()
			all := append([]string{"resume", id, "--report", r.reportFile, "--progress", "json"}, p.connection()...)
			resumed := &run{start(t, p.workspace, p.env(), release, all...), r.dir, r.reportFile}
			res := resumed.result(t)
			res.want(t, 0, releaseModules)
			called := map[string]int{}
			for _, e := range res.Events {
				if e.Event == "module.output" {
					called[e.Module]++ // those that log do so once
				}
			}
			for _, m := range res.Report.Modules {
				if n := strings.Count(m.attempts(), succeeded); n != 1 {
					t.Errorf("%s has succeeded %d times: %s", m.Name, n, m.attempts())
				}
				if !before[m.Name] {
					continue
				}
				if got := m.attempts(); got != succeeded || called[m.Name] > 1 {
					t.Errorf("%s had its result: attempts %s, called %d times", m.Name, got, called[m.Name])
				}
			}
			if len(before) < 2 {
				t.Errorf("only %v had ended before", before)
			}
		})
	}
}

// killedInTheMiddle starts the program's run and kills it when some of its
// modules have ended and others not; where the run was faster, it is done again.
func (p *place) killedInTheMiddle(t *testing.T, path string) (id string, r *run) {
	t.Helper()
	for i := range 20 {
		id = "r" + strconv.Itoa(i)
		r = p.startProgram(t, path, append([]string{"--run-id", id}, p.runArgs...)...)
		r.await(t, event{Event: "module.ended", Module: "version"})
		r.kill(t)
		r.mu.Lock()
		over := slices.ContainsFunc(r.events, event{Event: "run.ended"}.agrees)
		r.mu.Unlock()
		if !over {
			return id, r
		}
	}
	t.Fatal("every run has ended before it could be killed")
	return "", nil
}

// endedModules returns the modules that have ended according to the events.
func (r *run) endedModules() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	ended := map[string]bool{}
	for _, e := range r.events {
		if e.Event == "module.ended" {
			ended[e.Module] = true
		}
	}
	return ended
}
