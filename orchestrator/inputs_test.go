package orchestrator

import (
	"testing"

	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// hashed are the inputs of a run whose snapshot has these files, all empty.
func hashed(t *testing.T, names ...string) *inputs {
	t.Helper()
	files := make([]tree.File, len(names))
	for i, name := range names {
		files[i] = tree.File{Path: name, Kind: tree.Regular}
	}
	list, err := tree.New(files)
	if err != nil {
		t.Fatal(err)
	}
	in := newInputs(nil, &jobs.Spec{Pipeline: &pipeline.Pipeline{}, Workspace: &jobs.Snapshot{}}, "", jobs.DefaultNamespace)
	in.snapshot = list
	return in
}

func TestHashFilesCoversNamesOfMatchingFiles(t *testing.T) {
	hash := func(in *inputs, globs ...string) string {
		t.Helper()
		f, err := in.hashes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sum, err := f(globs)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	a, b := hashed(t, "a/go.sum", "go.sum", "main.go"), hashed(t, "a/go.sum", "go.sum", "other.go")
	if hash(a, "**/go.sum") != hash(b, "**/go.sum") || hash(a, "go.sum") == "" {
		t.Error("the digest depends on files that do not match")
	}
	if hash(a, "**/go.sum") == hash(a, "go.sum") || hash(a, "*.go") == hash(b, "*.go") {
		t.Error("two sets of files have the same digest")
	}
	if sum := hash(a, "package-lock.json"); sum != "" {
		t.Errorf("no file matches, and the digest is %q", sum)
	}
}
