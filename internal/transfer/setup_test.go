package transfer_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/filestore"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

// site is a connection to the store of a server.
type site struct {
	t     testing.TB
	conn  *jetstream.Conn
	store content.Store
}

func connect(t testing.TB, url string, options []nats.Option) *site {
	t.Helper()
	c, err := jetstream.Connect(t.Context(), jetstream.Config{
		URL: url, Options: options, ConnectTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler),
		Streams: streams.Settings(), Probe: streams.Runs,
	})
	natstest.Check(t, err)
	t.Cleanup(c.Close)
	s := &site{t: t, conn: c, store: content.New(c, streams.BlobsBucket, "main", streams.BlobsAge)}
	return s
}

func newSite(t testing.TB) (*site, *natstest.Server) {
	t.Helper()
	s := natstest.InProcess(t)
	return connect(t, s.URL(), s.Options()), s
}

// in is the same site with another namespace.
func (s *site) in(namespace string, from ...string) *site {
	s.t.Helper()
	of := *s
	of.store = natstest.Must[content.Store](s.t)(s.store.In(namespace, from...))
	return &of
}

// files are the files of a tree by their paths, and their contents.
type files map[string][]byte

func (f files) tree(t testing.TB) *tree.Tree {
	t.Helper()
	var list []tree.File
	for path, data := range f {
		list = append(list, tree.File{Path: path, Size: int64(len(data)), Digest: tree.Digest(sha256.Sum256(data))})
	}
	return natstest.Must[*tree.Tree](t)(tree.New(list))
}

func (f files) open(file tree.File) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(f[file.Path])), nil
}

func (f files) clone() files {
	return maps.Clone(f)
}

// noise returns bytes that cannot be compressed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// many returns n files of about size bytes.
func many(n, size int) files {
	f := files{}
	for i := range n {
		f[fmt.Sprintf("dir%d/sub%d/file%d.txt", i%7, i%31, i)] = noise(uint64(i), size/2+i%size)
	}
	return f
}

func (s *site) push(f files) (jobs.Tree, transfer.Stats) {
	s.t.Helper()
	ref, stats, err := transfer.Push(natstest.Within(s.t), s.store, f.tree(s.t), f.open, time.Unix(1e9, 0))
	natstest.Check(s.t, err)
	return ref, stats
}

func local(t testing.TB) *filestore.Store {
	t.Helper()
	l := natstest.Must[*filestore.Store](t)(filestore.Open(t.Context(), t.TempDir(), 0))
	t.Cleanup(func() { natstest.Check(t, l.Close()) })
	return l
}

// holds checks that a local store has all files.
func holds(t testing.TB, l *filestore.Store, f files) {
	t.Helper()
	for path, data := range f {
		r, err := l.Open(t.Context(), tree.Digest(sha256.Sum256(data)))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%s: %d bytes, %v", path, len(got), err)
		}
		natstest.Check(t, r.Close())
	}
}

// fetch brings a tree into a local store, and checks it.
func (s *site) fetch(ref jobs.Tree, l *filestore.Store, f files) transfer.Stats {
	s.t.Helper()
	t, stats, err := transfer.Fetch(natstest.Within(s.t), s.store, ref, l, nil)
	natstest.Check(s.t, err)
	if t.Root().String() != ref.Root || len(t.Files) != len(f) {
		s.t.Errorf("%d files are fetched, and %d pushed", len(t.Files), len(f))
	}
	holds(s.t, l, f)
	return stats
}

// counted counts the bytes that were read through it.
type counted struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func sum(b []byte) [sha256.Size]byte { return sha256.Sum256(b) }
