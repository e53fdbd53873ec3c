package jobs

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/pipeline"
)

func every() []Status {
	var all []Status
	for s := range statusWords {
		all = append(all, Status(s))
	}
	return all
}

// TestTransitions: nothing leaves a terminal status, every other one can
// still end, and every status can be reached from Waiting.
func TestTransitions(t *testing.T) {
	reached := map[Status]bool{Waiting: true}
	for work := []Status{Waiting}; len(work) > 0; work = work[1:] {
		for _, to := range every() {
			if work[0].CanBecome(to) && !reached[to] {
				reached[to] = true
				work = append(work, to)
			}
		}
	}
	for _, s := range every() {
		if !reached[s] {
			t.Errorf("%s cannot be reached", s)
		}
		ends := slices.ContainsFunc(every(), func(to Status) bool { return s.CanBecome(to) && to.Terminal() })
		if s.Terminal() == ends {
			t.Errorf("%s: terminal %t, but it can end: %t", s, s.Terminal(), ends)
		}
	}
}

// TestStatusWords: the words that expressions may compare with are the
// terminal statuses'.
func TestStatusWords(t *testing.T) {
	var terminal []string
	for _, s := range every() {
		if s.Terminal() {
			terminal = append(terminal, s.String())
		}
	}
	words := slices.Clone(pipeline.Statuses())
	slices.Sort(words)
	slices.Sort(terminal)
	if !slices.Equal(words, terminal) {
		t.Errorf("expressions know %v, modules end as %v", words, terminal)
	}
}

func TestLaneOf(t *testing.T) {
	tests := []struct {
		name  string
		r     pipeline.Requirements
		slots int
		want  Lane
	}{
		{"nothing", pipeline.Requirements{}, 1, "any"},
		{"words", pipeline.Requirements{OS: "linux", Tools: []pipeline.Tool{{Name: "docker"}}, Tags: []string{"gpu"}}, 1, "os_linux-tool_docker-tag_gpu"},
		{"slots", pipeline.Requirements{OS: "linux"}, 4, "os_linux-slots_4"},
	}
	for _, tt := range tests {
		if got := LaneOf(tt.r, tt.slots); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	fits := regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)
	for _, r := range []pipeline.Requirements{
		{Tools: []pipeline.Tool{{Name: "go", Min: "1.26"}}}, {Tags: []string{"dot.ted"}}, {Tags: []string{"ümlaut"}}, {Tags: []string{strings.Repeat("x", 61)}},
	} {
		if hashed := LaneOf(r, 1); !fits.MatchString(string(hashed)) || hashed[:2] != "h_" {
			t.Errorf("%s is no hash that fits a subject", hashed)
		}
	}
	if longest := LaneOf(pipeline.Requirements{Tags: []string{strings.Repeat("x", 60)}}, 1); longest[:4] != "tag_" || !fits.MatchString(string(longest)) {
		t.Errorf("%s is not spelled", longest)
	}
	// A hyphen in a value must not make two sets one lane.
	a := LaneOf(pipeline.Requirements{Tags: []string{"x-tag_y"}}, 1)
	b := LaneOf(pipeline.Requirements{Tags: []string{"x", "y"}}, 1)
	if a == b {
		t.Errorf("two sets of requirements share the lane %s", a)
	}
}

func TestMissing(t *testing.T) {
	have := Capabilities{
		OS: "linux", Arch: "amd64", CPUs: 4, Memory: 8 << 30, Tags: []string{"GPU"}, Labels: map[string]string{"Zone": "EU"},
		Tools: map[string]string{"go": "1.26.3", "git": ""},
	}
	tests := []struct {
		want pipeline.Requirements
		lack string
	}{
		{pipeline.Requirements{OS: "linux", Arch: "amd64", CPUs: 4, Memory: 8 << 30, Tags: []string{"gpu"}}, ""},
		{pipeline.Requirements{Labels: []pipeline.Pair{{Axis: "zone", Value: "eu"}}}, ""},
		{pipeline.Requirements{Tools: []pipeline.Tool{{Name: "go", Min: "1.26"}}}, ""},
		{pipeline.Requirements{Tools: []pipeline.Tool{{Name: "go", Min: "1.27"}}}, "tool go>=1.27 (it has 1.26.3)"},
		{pipeline.Requirements{Tools: []pipeline.Tool{{Name: "git", Min: "2"}}}, "tool git>=2 (its git does not say its version)"},
		{pipeline.Requirements{Tools: []pipeline.Tool{{Name: "docker"}}}, "tool docker"},
		{pipeline.Requirements{OS: "windows"}, "os windows"},
		{pipeline.Requirements{CPUs: 8}, "8 cpus (it has 4)"},
		{pipeline.Requirements{Memory: 16 << 30}, "16384 MiB of memory (it has 8192)"},
		{pipeline.Requirements{Labels: []pipeline.Pair{{Axis: "zone", Value: "us"}}}, "label zone=us"},
	}
	for _, tt := range tests {
		missing := have.Missing(tt.want)
		if tt.lack == "" && len(missing) > 0 || tt.lack != "" && !slices.Equal(missing, []string{tt.lack}) {
			t.Errorf("%+v: missing %q, want %q", tt.want, missing, tt.lack)
		}
	}
}

// Who has the program with another graph comes closer than who has another
// build, and who has none is the farthest: the message then says what is wrong.
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
		t.Error("who lacks less is not closer")
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
