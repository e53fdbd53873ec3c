package snapshot

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/pipeline"
)

// shelf keeps contents in memory.
type shelf struct {
	mu    sync.Mutex
	added int
	all   map[tree.Digest]bool
}

func (s *shelf) Has(d tree.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[d]
}

func (s *shelf) Add(_ context.Context, r io.Reader) (tree.Digest, int64, error) {
	b, err := io.ReadAll(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[tree.Digest]bool{}
	}
	d := tree.Digest(sha256.Sum256(b))
	s.all[d] = true
	s.added++
	return d, int64(len(b)), err
}

func TestKeeperReceivesAllContents(t *testing.T) {
	dir := repository(t, files{"a": "1", "b": "2", "l": "-> a"})
	for _, rev := range []string{"", "HEAD"} {
		s := &shelf{}
		r := take(t, Options{Dir: dir, Rev: rev, Keep: s, Workspace: pipeline.Workspace{Git: pipeline.FullHistory}})
		for _, in := range []*tree.Tree{r.Tree, r.Git} {
			for _, f := range in.Files {
				if f.HasContent() && !s.Has(f.Digest) {
					t.Errorf("rev %q: the content of %s was not kept", rev, f.Path)
				}
			}
		}
	}
}

func TestUnchangedFilesAreNotRead(t *testing.T) {
	dir := repository(t, files{"a": "1", "b": "2"})
	s, index := &shelf{}, filepath.Join(t.TempDir(), "new", "index")
	o := Options{Dir: dir, IndexDir: index, Keep: s}
	for before := -1; s.added != before; { // files are not trusted while they are too young
		before = s.added
		take(t, o)
	}
	before := s.added
	write(t, dir, files{"c": "3"})
	same(t, take(t, o).Files(), 3)
	same(t, s.added, before+1)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	o.Dir = link
	take(t, o)
	if found, err := os.ReadDir(index); err != nil || len(found) != 1 {
		t.Errorf("the real path names the index: %v, %v", found, err)
	}
}

func TestUnusableIndexCostsTimeOnly(t *testing.T) {
	dir, index := repository(t, files{"a": "1"}), filepath.Join(t.TempDir(), "file")
	write(t, filepath.Dir(index), files{"file": "in the way"})
	r := take(t, Options{Dir: dir, IndexDir: index})
	same(t, contents(t, r, r.Tree), files{"a": "1"})
	if len(r.Warnings) != 1 {
		t.Error(r.Warnings)
	}
}

func TestCancelledTakeEnds(t *testing.T) {
	dir := repository(t, files{"a": "1"})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	for _, rev := range []string{"", "HEAD"} {
		if _, err := Take(ctx, Options{Dir: dir, Rev: rev}); !errors.Is(err, why) && !errors.Is(err, context.Canceled) {
			t.Errorf("rev %q: %v", rev, err)
		}
	}
}

func TestLimitOfFilesFollowsThatOfBytes(t *testing.T) {
	for bytes, want := range map[int64]int{1: 200_000, 1 << 30: 200_000, 3 << 30: 600_000, 1 << 62: 200_000_000} {
		same(t, moreFiles(bytes), want)
	}
}
