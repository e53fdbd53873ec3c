package pipeline

import (
	"strings"
	"testing"
)

func TestLargeFileIsReadUpToTheLimit(t *testing.T) {
	const src = "name: x\nmodules: {a: {run: x}}\n#"
	if _, err := Parse("t.yaml", []byte(src+strings.Repeat("x", 5<<20))); err != nil {
		t.Errorf("5 MiB: %v", err)
	}
	_, err := Parse("t.yaml", []byte(src+strings.Repeat("x", MaxFileSize)))
	if err == nil || !strings.Contains(err.Error(), "larger than 64 MiB") {
		t.Errorf("above the limit: %v", err)
	}
}
