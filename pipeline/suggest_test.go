package pipeline_test

import (
	"strings"
	"testing"

	"github.com/modpipe/modpipe/pipeline"
)

func TestNearestWord(t *testing.T) {
	known := []string{"build", "test", "Deploy"}
	for _, c := range []struct {
		word   string
		within int
		want   string
	}{
		{"biuld", 1, "build"}, // a swap is one edit
		{"tests", 1, "test"},
		{"deploy", 1, "Deploy"},
		{"dploi", 1, ""},
		{"dploi", 2, "Deploy"},
		{strings.Repeat("x", 1000), 1000, ""},
	} {
		if got := pipeline.Nearest(c.word, known, c.within); got != c.want {
			t.Errorf("%.20s within %d: %q, want %q", c.word, c.within, got, c.want)
		}
	}
}
