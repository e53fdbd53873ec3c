package main

import (
	"testing"
	"testing/fstest"

	"github.com/modpipe/modpipe/modpipetest"
)

func TestSumsOfEveryFile(t *testing.T) {
	files := fstest.MapFS{"bin/app-linux": {Data: []byte("one")}, "bin/app-darwin": {Data: []byte("two")}}
	run := modpipetest.New(t, pack, modpipetest.Stub("build", map[string]string{}), modpipetest.StubFiles("build", "bin", files))
	got := modpipetest.Result[map[string]string](run, "sums")
	if len(got) != 2 || got["bin/app-linux"] != "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed" {
		t.Errorf("the sums are %v", got)
	}
}
