package orchestrator_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/files"
	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
	"github.com/modpipe/modpipe/worker"
)

// liar gives attempts their files, and lies about what they leave.
type liar struct {
	workspace.Files
	lie *atomic.Pointer[func(*jobs.Artifact)] // nil = it tells the truth
}

func (l liar) Prepare(ctx context.Context, f *jobs.JobFiles, in string) (workspace.Directory, error) {
	d, err := l.Files.Prepare(ctx, f, in)
	return lyingDirectory{d, l.lie}, err
}

type lyingDirectory struct {
	workspace.Directory
	lie *atomic.Pointer[func(*jobs.Artifact)]
}

func (d lyingDirectory) Collect(ctx context.Context, ended report.AttemptStatus, m *mask.Masker) ([]jobs.Artifact, error) {
	left, err := d.Directory.Collect(ctx, ended, m)
	if lie := d.lie.Load(); lie != nil {
		for i := range left {
			(*lie)(&left[i])
		}
	}
	return left, err
}

const lied = `
name: p
modules:
  build: {run: 'mkdir -p dir/empty; echo x >out; ln -s out link', artifacts: {produce: {out: [out, link, dir]}}, cache: {inputs: [], portable: true}}
  use: {needs: build, run: 'test -e out', artifacts: {consume: [out]}}
`

// TestLyingWorkerPlantsNoResult: a worker reports artifacts that are not what it has
// stored. The consumer fails, and no entry leads other runs to them.
func TestLyingWorkerPlantsNoResult(t *testing.T) {
	t.Parallel()
	s := newSite(t, 0)
	other := (&shelf{t, s.nats, s.conn}).push(1, 2)
	var lie atomic.Pointer[func(*jobs.Artifact)]
	s.workerOf(worker.Config{Name: "w1", Files: liar{files.New(files.Config{Dir: filepath.Join(t.TempDir(), "files"), Remote: s.conn.Files}), &lie}})
	run := func(id jobs.RunID) *report.Report {
		t.Helper()
		file := natstest.Must[*pipeline.File](t)(pipeline.Parse("test.yaml", []byte(lied)))
		p := natstest.Must[*pipeline.Pipeline](t)(file.Bind(nil, func(string) (string, bool) { return "", false }))
		natstest.Check(t, client.New(s.conn).Submit(s.ctx, &jobs.Spec{Run: id, Pipeline: p, Isolated: true}))
		if _, err := orchestrator.Run(s.ctx, s.conn, id, orchestrator.Config{}); err != nil {
			t.Fatal(err)
		}
		rep, err := client.New(s.conn).Show(s.ctx, id)
		natstest.Check(t, err)
		return rep
	}
	for name, c := range map[string]struct {
		lie  func(*jobs.Artifact)
		says string // of the consumer; "" = it succeeds
	}{
		"the list of another tree": {func(a *jobs.Artifact) { a.Tree.Manifest = other.Manifest }, "artifact out of build"},
		"another root":             {func(a *jobs.Artifact) { a.Tree.Root = other.Root }, "artifact out of build"},
		"no list":                  {func(a *jobs.Artifact) { a.Tree.Manifest = strings.Repeat("a", 64) }, "artifact out of build"},
		"no digest":                {func(a *jobs.Artifact) { a.Tree.Manifest = "../x" }, "artifact out of build"},
		"another namespace":        {func(a *jobs.Artifact) { a.Tree.Namespace = "release" }, "artifact out of build"},
		"more files":               {func(a *jobs.Artifact) { a.Tree.Files = 1_000_000 }, ""},
	} {
		lie.Store(&c.lie)
		rep := run(jobs.RunID(strings.ReplaceAll(name, " ", "-")))
		use := rep.Modules[1]
		if c.says == "" {
			wantStatuses(t, rep, "build=succeeded use=succeeded")
		} else if use.Status != report.Failed || !strings.Contains(use.Error, c.says) {
			t.Errorf("%s: the consumer %s: %s", name, use.Status, use.Error)
		}
	}
	lie.Store(nil)
	wantStatuses(t, run("honest"), "build=succeeded use=succeeded")
	wantStatuses(t, run("cached"), "build=cached use=succeeded")
	cache := natstest.Must[*kv.Cache](t)(kv.FindCache(s.ctx, s.conn.Conn))
	if entries := natstest.Must[[]kv.StoredEntry](t)(cache.List(s.ctx, "*")); len(entries) != 1 || entries[0].Run != "honest" {
		t.Errorf("the entries are %+v", entries)
	}
}
