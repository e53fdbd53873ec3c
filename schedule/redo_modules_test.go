package schedule_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// TestAgainTakesModules: the modules that are named run again, with what
// followed them in the run and with what they need and has no result.
func TestAgainTakesModules(t *testing.T) {
	const src = `
name: p
fail-fast: false
modules:
  build: {run: "true"}
  lint: {run: "true"}
  test: {needs: build, run: "true"}
  report: {needs: test, run: "true"}
  flaky: {needs: lint, run: "true"}
  deploy: {needs: [test, flaky], run: "true"}
`
	graph, err := parse(t, src).Select(pipeline.Selection{Skip: []string{"deploy"}})
	if err != nil {
		t.Fatal(err)
	}
	first := newPlayerOf(t, &jobs.Spec{Run: "r", Pipeline: graph}, failing("flaky"))
	if rep := first.play(4); rep.Status != report.RunFailed {
		t.Fatalf("the first run ended %s", rep.Status)
	}
	for name, c := range map[string]struct {
		modules []string
		start   bool
		want    []string
	}{
		"what has not succeeded":       {nil, false, []string{"flaky"}},
		"one, and what follows":        {[]string{"TEST"}, false, []string{"test", "report"}},
		"one that was not selected":    {[]string{"deploy"}, false, []string{"flaky", "deploy"}},
		"the first of all":             {[]string{"build"}, false, []string{"build", "test", "report"}},
		"everything from the start":    {nil, true, []string{"build", "lint", "test", "flaky", "report"}},
		"one from the start":           {[]string{"report"}, true, []string{"build", "test", "report"}},
		"not selected, from the start": {[]string{"deploy"}, true, []string{"build", "lint", "test", "flaky", "deploy"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, kept, unknown := first.run.Redo(c.modules, c.start)
			if unknown != "" {
				t.Fatalf("%q is unknown", unknown)
			}
			second := newPlayerOf(t, &jobs.Spec{Run: "again", Pipeline: p, RetryOf: "r", Kept: kept}, failing())
			if rep := second.play(4); rep.Status != report.RunSucceeded {
				t.Errorf("it ended %s: %s", rep.Status, rep.Error)
			}
			got := map[string]bool{}
			for _, m := range second.order {
				got[m] = true
			}
			want := map[string]bool{}
			for _, m := range c.want {
				want[m] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("what ran (-want +got):\n%s", diff)
			}
		})
	}
	if _, _, unknown := first.run.Redo([]string{"build", "biuld"}, false); unknown != "biuld" {
		t.Errorf("%q is unknown, want biuld", unknown)
	}
}
