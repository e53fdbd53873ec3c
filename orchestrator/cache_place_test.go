package orchestrator_test

import (
	"path/filepath"
	"testing"

	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/files"
	"github.com/modpipe/modpipe/internal/snapshot"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/test/natstest"
	"github.com/modpipe/modpipe/worker"
)

const inWorkspace = `
name: p
workspace: {include: ["**"]}
modules:
  build:
    run: 'test -e undeclared; echo "version=$(cat in)" >>"$MODPIPE_OUTPUT"'
    outputs: [version]
    cache: {inputs: [in], portable: true}
`

// served runs a pipeline as an orchestrator does that serves workers with workspaces of
// their own, and returns how its module has ended.
func (s *site) served(id jobs.RunID, src string, isolated bool) string {
	s.t.Helper()
	file := natstest.Must[*pipeline.File](s.t)(pipeline.Parse("test.yaml", []byte(src)))
	p := natstest.Must[*pipeline.Pipeline](s.t)(file.Bind(nil, func(string) (string, bool) { return "", false }))
	spec := &jobs.Spec{Run: id, Pipeline: p, Isolated: isolated}
	c := client.New(s.conn)
	natstest.Must[client.SnapshotTaken](s.t)(c.Snapshot(s.ctx, spec, snapshot.Options{Dir: s.dir, Workspace: *p.Workspace}, "repository"))
	natstest.Check(s.t, c.Submit(s.ctx, spec))
	if _, err := orchestrator.Run(s.ctx, s.conn, id, orchestrator.Config{}); err != nil {
		s.t.Fatal(err)
	}
	rep, err := c.Show(s.ctx, id)
	natstest.Check(s.t, err)
	return string(rep.Modules[0].Status)
}

// TestResultOfAWorkspaceServesThere: an attempt in the workspace of a worker finds files
// that it does not declare. Its result serves where that worker works, and nowhere else.
func TestResultOfAWorkspaceServesThere(t *testing.T) {
	t.Parallel()
	s := newSite(t, 0)
	s.input("1")
	s.touch("undeclared")
	s.workerOf(worker.Config{Name: "w1", Files: files.New(files.Config{Dir: filepath.Join(t.TempDir(), "files"), Remote: s.conn.Files})})
	want := func(id jobs.RunID, isolated bool, want string) {
		t.Helper()
		if got := s.served(id, inWorkspace, isolated); got != want {
			t.Errorf("run %s: the module %s, want %s", id, got, want)
		}
	}
	want("r1", false, "succeeded")
	want("r2", false, "cached")
	cache := natstest.Must[*kv.Cache](t)(kv.FindCache(s.ctx, s.conn.Conn))
	entries := natstest.Must[[]kv.StoredEntry](t)(cache.List(s.ctx, "main"))
	if len(entries) != 1 || entries[0].Hermetic || entries[0].Place != workspace.Place(s.dir) {
		t.Fatalf("the entries are %+v", entries)
	}
	want("r3", true, "failed") // in a directory of its own the file is absent
	s.input("2")
	want("r4", false, "succeeded")
	want("r5", false, "cached")

	// No worker works there.
	e := entries[0].CacheEntry
	e.Place = "elsewhere:" + s.dir
	natstest.Check(t, cache.Store(s.ctx, "main", &e))
	s.input("1")
	want("r6", false, "succeeded")
}
