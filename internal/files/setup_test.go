package files_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/files"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

// site is a machine and the store that all machines share.
type site struct {
	t      testing.TB
	remote content.Store
	dir    string // of the store of the machine
	*files.Machine
}

// taken is the time of all trees.
var taken = time.Unix(1e9, 0).UTC()

func newSite(t testing.TB, keep int) *site {
	t.Helper()
	server := natstest.InProcess(t)
	c, err := jetstream.Connect(t.Context(), jetstream.Config{
		URL: server.URL(), Options: server.Options(), ConnectTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler),
		Streams: streams.Settings(), Probe: streams.Runs,
	})
	natstest.Check(t, err)
	t.Cleanup(c.Close)
	s := &site{t: t, remote: content.New(c, streams.BlobsBucket, "main", streams.BlobsAge), dir: filepath.Join(t.TempDir(), "files")}
	s.Machine = files.New(files.Config{Dir: s.dir, Remote: s.remote, Keep: keep})
	t.Cleanup(func() { natstest.Check(t, s.Close()) })
	return s
}

// contents are files by their paths.
type contents map[string]string

// push stores files as a tree.
func (s *site) push(c contents) *jobs.Tree {
	s.t.Helper()
	var list []tree.File
	for path, text := range c {
		list = append(list, tree.File{Path: path, Size: int64(len(text)), Digest: tree.Digest(sha256.Sum256([]byte(text)))})
	}
	t := natstest.Must[*tree.Tree](s.t)(tree.New(list))
	open := func(f tree.File) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(c[f.Path]))), nil }
	ref, _, err := transfer.Push(natstest.Within(s.t), s.remote, t, open, taken)
	natstest.Check(s.t, err)
	return &ref
}

// prepare prepares the files of an attempt, in a workspace or in a directory.
func (s *site) prepare(f *jobs.JobFiles, in string) workspace.Directory {
	s.t.Helper()
	return natstest.Must[workspace.Directory](s.t)(s.Prepare(natstest.Within(s.t), f, in))
}

// root is the digest of the tree that a directory holds.
func root(t testing.TB, dir string) string {
	t.Helper()
	r, err := os.OpenRoot(dir)
	natstest.Check(t, err)
	defer r.Close()
	return natstest.Must[*tree.Tree](t)(tree.Take(t.Context(), r, tree.TakeOptions{})).Root().String()
}

// write writes files below a directory.
func write(t testing.TB, dir string, c contents) {
	t.Helper()
	for path, text := range c {
		at := filepath.Join(dir, path)
		natstest.Check(t, os.MkdirAll(filepath.Dir(at), 0o755))
		natstest.Check(t, os.WriteFile(at, []byte(text), 0o644))
	}
}
