package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tool puts an executable on the PATH of the place's workers, which prints its version.
func (p *place) tool(t *testing.T, name, version string) {
	t.Helper()
	script := "#!/bin/sh\n[ \"$1\" = --version ] && echo \"" + name + " version " + version + " (test)\"\n"
	if err := os.WriteFile(filepath.Join(p.path, name), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// aWorkerIsThere runs something, so that the next run knows of a worker.
func (p *place) aWorkerIsThere(t *testing.T) {
	t.Helper()
	p.run(t, trueYAML).want(t, 0, all(succeeded, "a"))
}

// ranOn checks which worker ran a module's only attempt.
func (r *result) ranOn(t *testing.T, name, worker string) {
	t.Helper()
	m := r.Report.module(t, name)
	if len(m.Attempts) != 1 || m.Attempts[0].Worker != worker {
		t.Errorf("%s: attempts %+v, want one on %s", name, m.Attempts, worker)
	}
}

func TestLanesByTagAndLabel(t *testing.T) {
	const yaml = `
name: e2e
modules:
  both: {matrix: {n: [1, 2, 3, 4]}, requires: {tags: [BIG, gpu]}, run: 'true'}
  zone: {requires: {labels: {Zone: EU}, os: Linux}, run: 'true'}
  one: {requires: {tags: [Only-One]}, run: 'true'}
`
	withOwnWorkers(t, func(t *testing.T, p *place) {
		p.worker(t, "plain", "--tags", "big,only-one")
		p.worker(t, "large", "--tags", "big,GPU")
		p.worker(t, "europe", "--labels", "zone=eu")
		r := p.run(t, yaml)
		r.want(t, 0, all(succeeded, "both (n=1)", "both (n=2)", "both (n=3)", "both (n=4)", "zone", "one"))
		for _, n := range "1234" {
			r.ranOn(t, "both (n="+string(n)+")", "large")
		}
		r.ranOn(t, "zone", "europe")
		r.ranOn(t, "one", "plain")
	})
}

func TestToolsByVersion(t *testing.T) {
	const yaml = `
name: e2e
fail-fast: false
defaults: {queue-timeout: 1s}
modules:
  any: {requires: {tools: [frobnicate]}, run: 'true'}
  same: {requires: {tools: ["frobnicate>=1.10"]}, run: 'true'}
  older: {requires: {tools: ["frobnicate>=1.9.7", sh]}, run: 'true'}
  newer: {requires: {tools: ["frobnicate>=2"]}, run: 'true'}
  absent: {requires: {tools: [no-such-tool]}, run: 'true'}
`
	inBothModesWith(t, func(t *testing.T, p *place) { p.tool(t, "frobnicate", "1.10.3") }, func(t *testing.T, p *place) {
		p.aWorkerIsThere(t)
		r := p.run(t, yaml)
		r.want(t, 4, and(all(succeeded, "any", "same", "older"), all(failed, "newer", "absent")))
		checks(reasonNames("newer", "frobnicate>=2", "1.10.3"), reasonNames("absent", "no-such-tool"))(t, r)
		if m := r.Report.module(t, "absent"); len(m.Attempts) != 0 {
			t.Errorf("attempts without a worker: %+v", m.Attempts)
		}
	})
}

func TestUnsatisfiable(t *testing.T) {
	const yaml = `
name: e2e
modules:
  a: {requires: {tags: [nobody-has-this], tools: [sh]}, queue-timeout: 1s, retry: {attempts: 3, delay: 1ms}, run: 'true'}
  behind: {needs: [a], run: 'true'}
  ignored: {requires: {tags: [nobody-has-this]}, queue-timeout: 500ms, ignore-failure: true, run: 'true'}
`
	inBothModes(t, func(t *testing.T, p *place) {
		p.aWorkerIsThere(t)
		start := p.start(t, yaml)
		said := start.await(t, event{Event: "waiting"})
		if !strings.Contains(said.Missing, "nobody-has-this") || said.Closest == "" {
			t.Errorf("waiting: missing %q, closest %q", said.Missing, said.Closest)
		}
		r := start.result(t)
		r.want(t, 4, map[string]string{"a": failed, "behind": dependencyFailed, "ignored": ignoredFailure})
		reasonNames("a", "nobody-has-this")(t, r)
	})
}

func TestQueueTimeoutBesideAFailureIsAFailure(t *testing.T) {
	const yaml = `
name: e2e
fail-fast: false
modules:
  a: {requires: {tags: [nobody-has-this]}, queue-timeout: 300ms, run: 'true'}
  b: {run: exit 1}
`
	inBothModes(t, func(t *testing.T, p *place) {
		p.run(t, yaml).want(t, 1, all(failed, "a", "b"))
	})
}

func TestJoinMidRun(t *testing.T) {
	const yaml = `
name: e2e
modules:
  early: {requires: {tags: [early]}, run: 'true'}
  late: {needs: [early], requires: {tags: [late]}, run: 'true'}
`
	withOwnWorkers(t, func(t *testing.T, p *place) {
		p.worker(t, "early", "--tags", "early")
		r := p.start(t, yaml)
		r.await(t, event{Event: "waiting", Module: "late"})
		p.worker(t, "late", "--tags", "late")
		res := r.result(t)
		res.want(t, 0, all(succeeded, "early", "late"))
		res.ranOn(t, "late", "late")
	})
}
