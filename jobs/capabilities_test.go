package jobs

import (
	"slices"
	"testing"

	"github.com/modpipe/modpipe/pipeline"
)

func TestMissing(t *testing.T) {
	have := Capabilities{
		OS: "linux", Arch: "amd64", CPUs: 4, Memory: 8 << 30, Tags: []string{"GPU"}, Labels: map[string]string{"Zone": "EU"},
		Tools:   map[string]string{"go": "1.26.3", "git": ""},
		Secrets: []string{"db"},
		Env:     []string{"AWS_*", "CI"},
	}
	tests := []struct {
		want pipeline.Requirements
		lack string
	}{
		{pipeline.Requirements{OS: "linux", Arch: "amd64", CPUs: 4, Memory: 8 << 30, Tags: []string{"gpu"}}, ""},
		{pipeline.Requirements{Labels: []pipeline.KeyValue{{Key: "zone", Value: "eu"}}}, ""},
		{pipeline.Requirements{Tools: []pipeline.Tool{{Name: "go", Min: "1.26"}}}, ""},
		{pipeline.Requirements{Tools: []pipeline.Tool{{Name: "go", Min: "1.27"}}}, "tool go>=1.27 (it has 1.26.3)"},
		{pipeline.Requirements{Tools: []pipeline.Tool{{Name: "git", Min: "2"}}}, "tool git>=2 (its git does not say its version)"},
		{pipeline.Requirements{Tools: []pipeline.Tool{{Name: "docker"}}}, "tool docker"},
		{pipeline.Requirements{OS: "windows"}, "os windows"},
		{pipeline.Requirements{CPUs: 8}, "8 cpus (it has 4)"},
		{pipeline.Requirements{Memory: 16 << 30}, "16384 MiB of memory (it has 8192)"},
		{pipeline.Requirements{Labels: []pipeline.KeyValue{{Key: "zone", Value: "us"}}}, "label zone=us"},
		{pipeline.Requirements{Secrets: []string{"db"}}, ""},
		{pipeline.Requirements{Secrets: []string{"DB"}}, "secret DB"},
		{pipeline.Requirements{Env: []string{"AWS_REGION", "CI"}}, ""},
		{pipeline.Requirements{Env: []string{"HOME"}}, "variable HOME (worker --pass-env)"},
	}
	for _, tt := range tests {
		missing := have.Missing(tt.want)
		if tt.lack == "" && len(missing) > 0 || tt.lack != "" && !slices.Equal(missing, []string{tt.lack}) {
			t.Errorf("%+v: missing %q, want %q", tt.want, missing, tt.lack)
		}
	}
}

// A worker that has the program with another graph is closer than one with
// another build, and a worker without the program is the farthest. So the
// message names the real difference.
func TestCloser(t *testing.T) {
	want := pipeline.Requirements{Program: &pipeline.Program{Name: "p", Build: "b", Graph: "g"}}
	order := []Capabilities{
		{Program: &pipeline.Program{Name: "p", Build: "b", Graph: "other"}},
		{Program: &pipeline.Program{Name: "p", Build: "other", Graph: "g"}},
		{Program: &pipeline.Program{Name: "other", Build: "b", Graph: "g"}},
		{OS: "linux"},
	}
	for i, c := range order {
		for k, other := range order {
			if got := c.Closer(other, want); got != (i < k) {
				t.Errorf("%d is closer than %d: %t", i, k, got)
			}
		}
	}
	if gpu := (Capabilities{Tags: []string{"gpu"}}); !gpu.Closer(order[0], pipeline.Requirements{OS: "linux", Tags: []string{"gpu"}}) {
		t.Error("a worker that lacks less is not closer")
	}
}

func TestCompareVersions(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"1.26", "1.26.0", 0}, {"1.9", "1.26", -1}, {"2", "1.26.8", 1}, {"1.26.8", "1.26", 1}} {
		got := CompareVersions(tt.a, tt.b)
		if (got < 0) != (tt.want < 0) || (got > 0) != (tt.want > 0) {
			t.Errorf("%s against %s: %d", tt.a, tt.b, got)
		}
	}
}
