package transfer_test

import (
	"errors"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/test/natstest"

	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
)

// TestThereAndBack: files of any length arrive, also none, equal ones and empty ones.
func TestThereAndBack(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	f := many(3000, 4<<10)
	f["empty"], f["also empty"] = nil, []byte{}
	f["equal"] = f["dir0/sub0/file0.txt"]
	f["middle"], f["large"] = noise(1, 1<<20), noise(2, 9<<20+1)
	f["large again"] = f["large"]
	ref, stats := s.push(f)
	if stats.Files != len(f) || ref.Files != len(f) || stats.MovedFiles < 3000 || stats.MovedBytes < stats.Bytes*9/10-9<<20 {
		t.Errorf("%+v", stats)
	}
	l := local(t)
	if got := s.fetch(ref, l, f); got.Files != len(f) || got.Bytes != stats.Bytes {
		t.Errorf("%+v", got)
	}
	if got := s.fetch(ref, l, f); got.MovedFiles != 0 || got.MovedBytes != 0 {
		t.Errorf("again: %+v", got)
	}
	s.fetch(first(s.push(files{})), local(t), files{})
}

func first[A, B any](a A, _ B) A { return a }

// TestOnlyWhatIsMissingIsSent: of a tree with one changed file, one pack and one list.
func TestOnlyWhatIsMissingIsSent(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	f := many(5000, 4<<10)
	ref, _ := s.push(f)
	if again, stats := s.push(f); stats.MovedBytes != 0 || again != ref {
		t.Errorf("the same tree again: %+v, %+v instead of %+v", stats, again, ref)
	}
	l := local(t)
	s.fetch(ref, l, f)
	other := f.clone()
	other["dir3/sub3/file3.txt"] = []byte("changed")
	ref, stats := s.push(other)
	if stats.MovedBytes > 1<<20 || stats.MovedFiles > 400 {
		t.Errorf("one changed file of %d bytes: %+v", stats.Bytes, stats)
	}
	if stats := s.fetch(ref, l, other); stats.MovedFiles != 1 || stats.MovedBytes > 1<<20 {
		t.Errorf("fetching it: %+v", stats)
	}
}

// TestListIsReadOnce: a tree that was opened is fetched without its manifest.
func TestListIsReadOnce(t *testing.T) {
	t.Parallel()
	s, n := newSite(t)
	f := many(1000, 4<<10)
	ref, _ := s.push(f)
	x := natstest.Must[*transfer.Source](t)(transfer.Open(natstest.Within(t), s.store, ref))
	js := natstest.Must[natsjs.JetStream](t)(natsjs.New(n.Connect(t)))
	blobs := natstest.Must[natsjs.Stream](t)(js.Stream(natstest.Within(t), "OBJ_mp-blobs"))
	natstest.Check(t, blobs.Purge(natstest.Within(t), natsjs.WithPurgeSubject("$O.mp-blobs.M.main."+ref.Manifest)))
	l := local(t)
	stats, err := x.FetchAll(natstest.Within(t), l, nil)
	natstest.Check(t, err)
	if stats.Files != len(f) || stats.MovedFiles != len(f) {
		t.Errorf("%+v", stats)
	}
	holds(t, l, f)
	if _, _, err := transfer.Fetch(natstest.Within(t), s.store, ref, l, nil); !errors.Is(err, jetstream.ErrNotFound) {
		t.Errorf("without its manifest: %v", err)
	}
}

// TestFetchOnlyWhatIsWanted: other packs are not read.
func TestFetchOnlyWhatIsWanted(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	f := many(1000, 16<<10)
	ref, _ := s.push(f)
	l := local(t)
	want := func(file tree.File) bool { return file.Path == "dir3/sub3/file3.txt" }
	_, stats, err := transfer.Fetch(natstest.Within(t), s.store, ref, l, want)
	natstest.Check(t, err)
	if stats.Files != 1 || stats.MovedFiles != 1 || stats.MovedBytes > 1<<20 {
		t.Errorf("%+v", stats)
	}
	holds(t, l, files{"dir3/sub3/file3.txt": f["dir3/sub3/file3.txt"]})
}
