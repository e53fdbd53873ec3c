//go:build linux

package worker

import "testing"

// A worker that was started with an empty environment looks where the system
// keeps its programs.
func TestWorkerWithoutAPATHFindsTools(t *testing.T) {
	t.Setenv("PATH", "")
	if found := newToolbox(Config{}, nil).onPath["sh"]; found == "" {
		t.Error("there is no sh")
	}
}
