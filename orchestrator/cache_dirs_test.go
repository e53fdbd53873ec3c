package orchestrator_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/files"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
	"github.com/modpipe/modpipe/worker"
)

// apart runs a worker that has no workspace, and a store of its own, until the test
// ends.
func (s *site) apart(name string) {
	s.t.Helper()
	c := s.connect()
	w := must(worker.New(c, worker.Config{
		Name: name, Slots: 2, PassAll: true, Logger: slog.New(slog.DiscardHandler),
		Files: files.New(files.Config{Dir: s.t.TempDir(), Remote: content.New(c.Conn, streams.BlobsBucket, jobs.DefaultNamespace, streams.BlobsAge)}),
	}))
	ctx, cancel := context.WithCancel(s.ctx)
	var g errgroup.Group
	g.Go(func() error { return w.Run(ctx) })
	s.t.Cleanup(func() {
		cancel()
		_ = g.Wait() // cancelled
	})
}

// snapshot stores a workspace with one file.
func (s *site) snapshot(name, text string) *jobs.Snapshot {
	s.t.Helper()
	t := must(tree.New([]tree.File{{Path: name, Size: int64(len(text)), Digest: tree.Digest(sha256.Sum256([]byte(text)))}}))
	open := func(tree.File) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(text))), nil }
	ref, _, err := transfer.Push(s.ctx, must(s.conn.Files.In(jobs.DefaultNamespace)), t, open, time.Unix(1, 0))
	natstest.Check(s.t, err)
	return &jobs.Snapshot{Tree: ref}
}

const keeping = `
name: p
modules:
  build:
    outputs: [had, kept]
    cache-dirs:
      mod: {env: MODS, key: "go-${{ hashFiles('go.sum') }}", restore: [go-]}
      out: {path: kept, key: "out"}
    run: |
      echo "had=$(ls "$MODS" | tr '\n' ' ')" >>"$MODPIPE_OUTPUT"
      echo "kept=$(ls kept | tr '\n' ' ')" >>"$MODPIPE_OUTPUT"
      echo x >"$MODS/$MODPIPE_RUN_ID"; echo x >"kept/$MODPIPE_RUN_ID"
`

func bound(t *testing.T, src string) *pipeline.Pipeline {
	t.Helper()
	return must(must(pipeline.Parse("test.yaml", []byte(src))).Bind(nil, os.LookupEnv))
}

// runDirs runs a pipeline on workers that share nothing.
func (s *site) runDirs(id jobs.RunID, src string, snapshot *jobs.Snapshot, policy jobs.CachePolicy) *report.Module {
	s.t.Helper()
	spec := &jobs.Spec{Run: id, Pipeline: bound(s.t, src), Workspace: snapshot, Cache: policy}
	natstest.Check(s.t, client.New(s.conn).Submit(s.ctx, spec))
	_, err := orchestrator.Run(s.ctx, s.conn, id, orchestrator.Config{})
	natstest.Check(s.t, err)
	rep := must(client.New(s.conn).Show(s.ctx, id))
	return &rep.Modules[0]
}

func TestCacheDirectoriesTravelBetweenRuns(t *testing.T) {
	t.Parallel()
	s := newSite(t, 0)
	s.apart("w1")
	s.apart("w2")
	one, two := s.snapshot("go.sum", "1"), s.snapshot("go.sum", "2")
	for _, c := range []struct {
		run       jobs.RunID
		snapshot  *jobs.Snapshot
		policy    jobs.CachePolicy
		had, kept string
	}{
		{"r1", one, jobs.CachePolicy{}, "", ""},
		{"r2", one, jobs.CachePolicy{}, "r1 ", "r1 "},    // the exact key, which is not stored again
		{"r3", two, jobs.CachePolicy{}, "r1 ", "r1 "},    // the beginning of the key
		{"r4", two, jobs.CachePolicy{}, "r1 r3 ", "r1 "}, // which was stored under its own
		{"off", two, jobs.CachePolicy{Off: true}, "", ""},
		{"write", one, jobs.CachePolicy{NoRead: true}, "", ""}, // stores another content
		{"r5", one, jobs.CachePolicy{}, "write ", "write "},
		{"other", one, jobs.CachePolicy{Namespace: "other", NoWrite: true}, "", ""},
		{"from", one, jobs.CachePolicy{Namespace: "other", From: []string{"main"}}, "write ", "write "},
	} {
		m := s.runDirs(c.run, keeping, c.snapshot, c.policy)
		if m.Status != report.Succeeded || m.Outputs["had"] != c.had || m.Outputs["kept"] != c.kept {
			t.Errorf("%s: %s %s: it had %q and %q, want %q and %q", c.run, m.Status, m.Error, m.Outputs["had"], m.Outputs["kept"], c.had, c.kept)
		}
	}
}

func TestModuleWithoutItsFilesFails(t *testing.T) {
	t.Parallel()
	s := newSite(t, 0)
	s.apart("w1")
	const needing = `
name: p
modules:
  build: {run: "true", cache-dirs: {mod: {env: MODS, key: "go-${{ hashFiles('go.sum') }}", fail-on-miss: true}}}
`
	one := s.snapshot("go.sum", "1")
	m := s.runDirs("miss", needing, one, jobs.CachePolicy{})
	if m.Status != report.Failed || !strings.Contains(m.Error, "nothing is stored under the key") || len(m.Attempts) > 0 {
		t.Errorf("without an entry it is %s: %s, %d attempts", m.Status, m.Error, len(m.Attempts))
	}
	gone := *one
	gone.Tree.Manifest = fmt.Sprintf("%064x", 1)
	m = s.runDirs("gone", needing, &gone, jobs.CachePolicy{})
	if m.Status != report.Failed || !strings.Contains(m.Error, "read the list of the files of the snapshot") {
		t.Errorf("without a snapshot it is %s: %s", m.Status, m.Error)
	}
}
