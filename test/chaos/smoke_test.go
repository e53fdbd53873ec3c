package main

import (
	"testing"
	"time"
)

// TestSmoke runs a short phase on one node. It checks the harness, and finds gross faults
// in modpipe.
func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	bin, err := build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	p := &phase{number: 1, nodes: 1, raging: 10 * time.Second, seed: 7, dir: dir, bin: bin, can: features{clusterKeys: true}, say: t.Logf}
	sum, err := p.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range sum.wrong {
		t.Error(what)
	}
	if sum.runs == 0 || sum.faults == 0 {
		t.Errorf("%d faults, %d runs", sum.faults, sum.runs)
	}
}
