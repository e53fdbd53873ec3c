package checkout_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modpipe/modpipe/internal/checkout"
	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/filestore"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

// site is a clone of a repository on a machine.
type site struct {
	t      *testing.T
	remote content.Store
	dir    string
	store  *filestore.Store
}

type contents map[string]string

// base is what the commit of the clone contains.
var base = contents{"a": "a", "sub/b": "b", ".gitignore": "*.o\n"}

func newSite(t *testing.T) *site {
	t.Helper()
	server := natstest.InProcess(t)
	c, err := jetstream.Connect(t.Context(), jetstream.Config{
		URL: server.URL(), Options: server.Options(), ConnectTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler),
		Streams: streams.Settings(), Probe: streams.Runs,
	})
	natstest.Check(t, err)
	t.Cleanup(c.Close)
	s := &site{t: t, remote: content.New(c, streams.BlobsBucket, "main", streams.BlobsAge), dir: t.TempDir()}
	s.store = natstest.Must[*filestore.Store](t)(filestore.Open(t.Context(), filepath.Join(t.TempDir(), "files"), 0))
	t.Cleanup(func() { natstest.Check(t, s.store.Close()) })
	s.git("init", "-q")
	s.write(base)
	s.git("add", "-A")
	s.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x")
	return s
}

func (s *site) git(args ...string) string {
	s.t.Helper()
	out, err := exec.CommandContext(s.t.Context(), "git", append([]string{"-C", s.dir}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (s *site) write(c contents) {
	s.t.Helper()
	for path, text := range c {
		at := filepath.Join(s.dir, path)
		natstest.Check(s.t, os.MkdirAll(filepath.Dir(at), 0o755))
		natstest.Check(s.t, os.WriteFile(at, []byte(text), 0o644))
	}
}

// holds checks which files the clone contains, besides .git.
func (s *site) holds(want contents) {
	s.t.Helper()
	root, err := os.OpenRoot(s.dir)
	natstest.Check(s.t, err)
	defer root.Close()
	got := natstest.Must[*tree.Tree](s.t)(tree.Take(s.t.Context(), root, tree.TakeOptions{SkipGit: true}))
	if changes := tree.Diff(treeOf(s.t, want), got); len(changes) > 0 {
		s.t.Errorf("the workspace differs: %v", changes)
	}
}

func treeOf(t *testing.T, c contents) *tree.Tree {
	t.Helper()
	var list []tree.File
	for path, text := range c {
		list = append(list, tree.File{Path: path, Size: int64(len(text)), Digest: tree.Digest(sha256.Sum256([]byte(text)))})
	}
	return natstest.Must[*tree.Tree](t)(tree.New(list))
}

// visit is an attempt of a run with this snapshot.
func (s *site) visit(run string, c contents) workspace.Visit {
	s.t.Helper()
	open := func(f tree.File) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(c[f.Path]))), nil }
	ref, _, err := transfer.Push(natstest.Within(s.t), s.remote, treeOf(s.t, c), open, time.Unix(1e9, 0))
	natstest.Check(s.t, err)
	return workspace.Visit{Run: jobs.RunID(run), Snapshot: ref}
}

func (s *site) checkout(sync bool) *checkout.Checkout {
	s.t.Helper()
	c := natstest.Must[*checkout.Checkout](s.t)(checkout.New(s.t.Context(), s.dir, sync))
	c.Use(s.remote, func(context.Context) (*filestore.Store, error) { return s.store, nil })
	return c
}

// enter begins an attempt.
func (s *site) enter(c *checkout.Checkout, v workspace.Visit) (leave func() string) {
	s.t.Helper()
	leave, err := c.Enter(natstest.Within(s.t), v)
	natstest.Check(s.t, err)
	return leave
}

// with returns files, some of them changed; "" removes one.
func with(c, changes contents) contents {
	all := contents{}
	for _, part := range []contents{c, changes} {
		for path, text := range part {
			if all[path] = text; text == "" {
				delete(all, path)
			}
		}
	}
	return all
}

func TestSyncMakesTheWorkspaceTheSnapshot(t *testing.T) {
	s := newSite(t)
	s.write(contents{"x.o": "ignored"})
	want := with(base, contents{"a": "changed", "sub/b": "", "new/c": "c"})
	c := s.checkout(true)
	s.enter(c, s.visit("r1", want))()
	s.holds(with(want, contents{"x.o": "ignored"}))

	s.write(contents{"a": "by a module", "left/over": "x", "y.o": "ignored"})
	s.enter(c, s.visit("r1", want))()
	s.holds(with(want, contents{"x.o": "ignored", "y.o": "ignored", "a": "by a module", "left/over": "x"}))
	s.enter(c, s.visit("r2", want))()
	s.holds(with(want, contents{"x.o": "ignored", "y.o": "ignored"}))

	s.enter(s.checkout(true), s.visit("r3", with(base, contents{"x.o": "included"})))()
	s.holds(with(base, contents{"x.o": "included", "y.o": "ignored"}))
}

func TestFirstSyncKeepsWhatOnlyTheDirectoryHas(t *testing.T) {
	for name, mine := range map[string]contents{
		"changed": {"a": "mine"}, "new": {"mine": "x"}, "ignored": {"x.o": "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.write(mine)
			c := s.checkout(true)
			_, err := c.Enter(t.Context(), s.visit("r", with(base, contents{"sub/b": "other", "x.o": "included"})))
			if err == nil || !machine.Caused(err) || !strings.Contains(err.Error(), "later syncs overwrite") {
				t.Errorf("got %v", err)
			}
			s.holds(with(base, mine))
		})
	}
}

func TestSyncOfEqualFilesIsNotRefused(t *testing.T) {
	s := newSite(t)
	s.write(contents{"mine": "x"})
	s.enter(s.checkout(true), s.visit("r", with(base, contents{"mine": "x"})))()
	s.holds(with(base, contents{"mine": "x"}))
}

func TestAttemptsOfAnotherSnapshotWait(t *testing.T) {
	s := newSite(t)
	c, other := s.checkout(true), s.checkout(true)
	a, b := s.visit("a", base), s.visit("b", with(base, contents{"a": "b"}))
	leave := []func() string{s.enter(c, a), s.enter(c, a)}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Enter(over, b); err == nil || !strings.Contains(err.Error(), "other snapshots") {
		t.Errorf("an attempt of this worker came in, or failed otherwise: %v", err)
	}
	if _, err := other.Enter(over, b); err == nil || !strings.Contains(err.Error(), "another worker") {
		t.Errorf("an attempt of another worker came in, or failed otherwise: %v", err)
	}
	came := make(chan func() string)
	natstest.Background(t, func(ctx context.Context) error {
		leave, err := c.Enter(ctx, b)
		came <- leave
		return err
	})
	s.holds(base)
	for _, l := range leave {
		l()
	}
	last := natstest.Receive(t, natstest.Within(t), came)
	s.holds(with(base, contents{"a": "b"}))
	last()
	s.enter(other, a)()
	s.holds(base)
}

func TestSyncNeedsGit(t *testing.T) {
	if _, err := checkout.New(t.Context(), t.TempDir(), true); err == nil || !strings.Contains(err.Error(), "not in a git work tree") {
		t.Errorf("got %v", err)
	}
}

func TestDifferencesAreReportedOncePerRun(t *testing.T) {
	s := newSite(t)
	c := s.checkout(false)
	same, other := s.visit("same", base), s.visit("other", with(base, contents{"a": "other", "c": "c"}))
	same.Commit = s.git("rev-parse", "HEAD")
	if text := s.enter(c, same)(); text != "" {
		t.Errorf("equal files: %s", text)
	}
	if text := s.enter(c, other)(); !strings.Contains(text, "2 files differ from the snapshot of the run: a, c;") {
		t.Errorf("other files: %q", text)
	}
	if text := s.enter(c, other)(); text != "" {
		t.Errorf("the second attempt: %q", text)
	}
	older := s.visit("older", base)
	older.Commit = strings.Repeat("1", 40)
	if text := s.enter(c, older)(); !strings.Contains(text, "submitted at 111111111") {
		t.Errorf("another commit: %q", text)
	}
	s.holds(base)
}
