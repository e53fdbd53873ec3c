package jobs

import (
	"regexp"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/pipeline"
)

func TestLaneOf(t *testing.T) {
	tests := []struct {
		name  string
		r     pipeline.Requirements
		slots int
		want  Lane
	}{
		{"nothing", pipeline.Requirements{}, 1, "any"},
		{"words", pipeline.Requirements{OS: "linux", Tools: []pipeline.Tool{{Name: "docker"}}, Tags: []string{"gpu"}}, 1, "os_linux-tool_docker-tag_gpu"},
		{"a variable of the worker", pipeline.Requirements{Env: []string{"ci"}}, 1, "env_ci"},
		{"a secret of the worker", pipeline.Requirements{OS: "linux", Secrets: []string{"db"}}, 1, "os_linux-secret_db"},
		{"slots", pipeline.Requirements{OS: "linux"}, 4, "os_linux-slots_4"},
	}
	for _, tt := range tests {
		if got := LaneOf(tt.r, tt.slots); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	fits := regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)
	for _, r := range []pipeline.Requirements{
		{Tools: []pipeline.Tool{{Name: "go", Min: "1.26"}}}, {Tags: []string{"dot.ted"}}, {Tags: []string{"ümlaut"}}, {Secrets: []string{"DB"}}, {Tags: []string{strings.Repeat("x", 61)}},
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
