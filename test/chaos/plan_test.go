package main

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/modpipe/modpipe/pipeline"
)

// TestPlansAreValid parses random pipelines.
func TestPlansAreValid(t *testing.T) {
	for seed := range uint64(300) {
		p := makePlan(rand.New(rand.NewPCG(seed, 1)), "r", features{clusterKeys: true})
		text := p.yaml(places{member: "/member", socket: "/socket"})
		if _, err := pipeline.Parse("plan.yaml", []byte(text)); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
	}
}

// TestSameSeedSamePlan checks that a failed run can be repeated.
func TestSameSeedSamePlan(t *testing.T) {
	text := func() string {
		p := makePlan(rand.New(rand.NewPCG(7, 1)), "r", features{})
		return p.yaml(places{})
	}
	if first, second := text(), text(); first != second {
		t.Error("two plans of one seed differ")
	}
}

func TestFates(t *testing.T) {
	p := plan{modules: []module{
		{name: "ok"},
		{name: "bad", design: fails},
		{name: "ignored", design: timesOut, ignore: true},
		{name: "skipped", design: isSkipped},
		{name: "behind", needs: []need{{"ok", false}, {"bad", true}}},
		{name: "further", needs: []need{{"behind", false}}},
		{name: "after-ignored", needs: []need{{"ignored", false}}},
		{name: "after-skipped", needs: []need{{"skipped", false}}},
		{name: "not-minding", needs: []need{{"skipped", true}}},
		{name: "always", always: true, needs: []need{{"bad", false}, {"skipped", false}}},
		{name: "nothing-to-do", always: true, needs: []need{{"skipped", false}}},
		{name: "nothing-required", always: true, needs: []need{{"skipped", true}}},
	}}
	want := map[string]string{
		"ok": statusSucceeded, "bad": statusFailed, "ignored": statusIgnored, "skipped": statusSkipped,
		"behind": statusDependency, "further": statusDependency, "after-ignored": statusSucceeded,
		"after-skipped": statusSkipped, "not-minding": statusSucceeded, "always": statusSucceeded,
		"nothing-to-do": statusSkipped, "nothing-required": statusSucceeded,
	}
	for name, status := range want {
		if got := p.natural()[name]; got != status {
			t.Errorf("%s ends %s, want %s", name, got, status)
		}
	}
	p.failFast = true
	for name, may := range p.fates(false) {
		stopped := slices.Contains(may, statusCancelled)
		if decided := name == "bad" || name == "behind" || name == "further" || name == "always" || name == "nothing-to-do" || name == "nothing-required"; decided == stopped {
			t.Errorf("under fail-fast %s may end %v", name, may)
		}
	}
	if got := p.verdicts(true); !slices.Equal(got, []string{statusFailed, statusCancelled}) {
		t.Errorf("verdicts %v", got)
	}
}
