package schedule_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// TestKept: what has succeeded is kept, with its outputs, unless it follows
// something that is done again; the run that keeps it does the rest.
func TestKept(t *testing.T) {
	const src = `
name: p
fail-fast: false
modules:
  build: {run: "true"}
  flaky: {needs: build, run: "true"}
  tests: {needs: build, matrix: {x: "${{ fromJSON(needs.build.outputs.all) }}"}, run: "true"}
  merge: {needs: [tests, flaky], run: "true"}
  ignored: {needs: build, ignore-failure: true, run: "true"}
  after-ignored: {needs: ignored, run: "true"}
  never: {needs: build, if: "needs.build.status == 'failed'", run: "true"}
  after-never: {needs: [build, {module: never, optional: true}], run: "true"}
  cleanup: {needs: merge, always-run: true, run: "true"}
`
	script := func(bad ...string) func(string, jobs.Attempt) jobs.Outcome {
		return func(name string, n jobs.Attempt) jobs.Outcome {
			o := failing(bad...)(name, n)
			if name == "build" {
				o.Outputs = jobs.OutputsOf(map[string]string{"all": "[1,2]"})
			}
			return o
		}
	}
	first := newPlayer(t, src, script("flaky", "ignored", "tests (x=2)"))
	if rep := first.play(4); rep.Status != report.RunFailed {
		t.Fatalf("the first run ended %s", rep.Status)
	}
	kept := first.run.Kept()
	var names []string
	for _, k := range kept {
		names = append(names, k.Module)
	}
	if diff := cmp.Diff([]string{"build", "tests (x=1)", "after-never"}, names); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}

	second := newPlayerOf(t, &jobs.Spec{Run: "again", Pipeline: parse(t, src), RetryOf: "r", Kept: kept}, script())
	rep := second.play(4)
	if rep.Status != report.RunSucceeded {
		t.Errorf("done again it ended %s: %s", rep.Status, rep.Error)
	}
	if diff := cmp.Diff([]string{"flaky", "tests (x=2)", "ignored", "merge", "after-ignored", "cleanup"}, second.order); diff != "" {
		t.Errorf("what ran again (-want +got):\n%s", diff)
	}
	for _, m := range rep.Modules {
		if m.Name == "build" && (m.Status != "succeeded" || m.Reason != "kept from run r" || m.Outputs["all"] != "[1,2]") {
			t.Errorf("build is %s (%s), with %v", m.Status, m.Reason, m.Outputs)
		}
	}
}
