package tree

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// counted counts what Take asks of the machine. Its clock is the given time ahead
// of the real one, so that files that were just created are old.
type counted struct {
	system
	lstats, opens atomic.Int32
}

func count(ahead time.Duration) *counted {
	c := &counted{system: machine}
	c.now = func() time.Time { return time.Now().Add(ahead) }
	c.lstat = func(dir *os.Root, name string) (fs.FileInfo, error) {
		c.lstats.Add(1)
		return dir.Lstat(name)
	}
	c.open = func(dir *os.Root, name string) (fs.File, error) {
		c.opens.Add(1)
		return machine.open(dir, name)
	}
	return c
}

// expect checks how many calls there were since the last time.
func (c *counted) expect(t *testing.T, lstats, opens int32) {
	t.Helper()
	if l, o := c.lstats.Swap(0), c.opens.Swap(0); l != lstats || o != opens {
		t.Errorf("%d stats and %d reads; expected %d and %d", l, o, lstats, opens)
	}
}

func openIndex(t testing.TB, file string) *Index {
	t.Helper()
	x, err := OpenIndex(file)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestUnchangedFilesCostOneStat(t *testing.T) {
	dir, root := layout(t, map[string]string{"a/b": "1", "a/c": "2", "d": "3", "l": "-> d"})
	file := filepath.Join(t.TempDir(), "index")
	sys, x := count(time.Hour), openIndex(t, file)
	opts := TakeOptions{Index: x, system: &sys.system}
	first := mustTake(t, root, opts)
	sys.expect(t, 5, 3)
	if err := x.Save(); err != nil {
		t.Fatal(err)
	}

	opts.Index = openIndex(t, file)
	if again := mustTake(t, root, opts); again.Root() != first.Root() {
		t.Error(Diff(first, again))
	}
	sys.expect(t, 5, 0)

	put(t, dir, "a/c", "4")
	if again := mustTake(t, root, opts); again.Root() == first.Root() {
		t.Error("the change was not noticed")
	}
	sys.expect(t, 5, 1)

	if err := os.Chmod(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if f, _ := mustTake(t, root, opts).Find("d"); f.Kind != Executable {
		t.Errorf("took %v", f)
	}
}

// The rule of git: what changed in the instant in which it was read may change
// once more in that instant.
func TestFilesThatChangedJustBeforeTheyWereReadAreNotTrusted(t *testing.T) {
	_, root := layout(t, map[string]string{"a": "1"})
	sys := count(0)
	opts := TakeOptions{Index: openIndex(t, filepath.Join(t.TempDir(), "index")), system: &sys.system}
	info, err := root.Lstat("a")
	if err != nil {
		t.Fatal(err)
	}
	last := stampOf(info)
	instant := time.Unix(0, max(last.mtime, last.ctime))
	for _, test := range []struct {
		now     time.Time
		trusted bool
	}{
		{instant.Add(-time.Hour), false}, // a clock that was set
		{instant, false},
		{instant.Add(fineTick), false},
		{instant.Add(coarseTick + time.Nanosecond), true},
		{instant, true}, // it is trusted already, and nothing is read
	} {
		sys.now = func() time.Time { return test.now }
		mustTake(t, root, opts)
		if _, ok := opts.Index.lookup("a", last); ok != test.trusted {
			t.Errorf("read %v after the change, trusted: %v", test.now.Sub(instant), ok)
		}
	}
}

func TestStampsOfCoarseFileSystemsStayRacyForLonger(t *testing.T) {
	second := time.Unix(1e9, 0)
	for _, test := range []struct {
		mtime, ctime time.Duration
		at           time.Duration
		want         bool
	}{
		{1, 1, 0, true},
		{1, 1, fineTick, true},
		{1, 1, fineTick + 1, true},
		{1, 1, fineTick + 2, false},
		{0, 0, fineTick + 2, true},
		{0, 0, coarseTick, true},
		{0, 0, coarseTick + 1, false},
		{0, 1, fineTick + 2, false},
		{-time.Hour, 1, fineTick, true},
		{time.Hour, 1, fineTick + 2, true},
	} {
		s := stamp{mtime: second.Add(test.mtime).UnixNano(), ctime: second.Add(test.ctime).UnixNano()}
		if got := s.racy(second.Add(test.at)); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

// The index does not vouch for content that the store does not have any more.
func TestContentThatTheStoreLacksIsReadAgain(t *testing.T) {
	_, root := layout(t, map[string]string{"a": "1", "b": "2"})
	sys, store := count(time.Hour), newShelf()
	opts := TakeOptions{Index: openIndex(t, filepath.Join(t.TempDir(), "index")), Keep: store, system: &sys.system}
	mustTake(t, root, opts)
	sys.expect(t, 2, 2)
	delete(store.content, regular("a", "1").Digest)
	mustTake(t, root, opts)
	sys.expect(t, 2, 1)
	if !store.Has(regular("a", "1").Digest) {
		t.Error("the content is not in the store")
	}
}

func TestADamagedIndexIsEmpty(t *testing.T) {
	file := filepath.Join(t.TempDir(), "index")
	x := openIndex(t, file)
	for _, path := range []string{"a", "a/b", "a/c", "z"} {
		x.put(path, stamp{size: 5, mtime: 1e18, ctime: 1e18 + 1, inode: 77}, regular("", path).Digest, time.Unix(2e9, 0))
	}
	if err := x.Save(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(openIndex(t, file).entries); got != 4 {
		t.Fatalf("%d entries of 4", got)
	}
	try := func(what string, at int, b []byte) {
		if got, err := readIndex(bytes.NewReader(b), int64(len(b))); !errors.Is(err, errDamaged) || len(got) > 0 {
			t.Errorf("%s at %d: %d entries, %v", what, at, len(got), err)
		}
	}
	for i := range whole {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 0x10
		try("flipped", i, flipped)
		try("cut", i, whole[:i])
	}
	if err := os.WriteFile(file, whole[:50], 0o600); err != nil {
		t.Fatal(err)
	}
	x = openIndex(t, file)
	if len(x.entries) != 0 {
		t.Errorf("%d entries", len(x.entries))
	}
	if err := x.Save(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || len(b) == 50 {
		t.Errorf("the damaged file stays: %v", err)
	}
}

func FuzzReadIndex(f *testing.F) {
	x := &Index{entries: map[string]indexed{}}
	x.put("a/b", stamp{size: 5, mtime: 1e18, inode: 77}, Digest{}, time.Unix(2e9, 0))
	var b bytes.Buffer
	if err := x.write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(indexVersion + "\xff\xff\xff\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := readIndex(bytes.NewReader(b), int64(len(b)))
		if err != nil && !errors.Is(err, errDamaged) || len(entries) > len(b) {
			t.Errorf("%d entries, %v", len(entries), err)
		}
	})
}

func TestAnIndexThatCannotBeReadOrSavedSaysSo(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenIndex(dir); err == nil || !strings.Contains(err.Error(), "read index") || !strings.Contains(err.Error(), dir) {
		t.Errorf("a directory: %v", err)
	}
	x := openIndex(t, filepath.Join(dir, "gone", "index"))
	if err := x.Save(); err != nil {
		t.Errorf("nothing to save: %v", err)
	}
	x.put("a", stamp{}, Digest{}, time.Unix(2e9, 0))
	if err := x.Save(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

func TestAnIndexForgetsWhatNobodyAsksFor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "index")
	asked, s := "asked", stamp{size: 1}
	x := openIndex(t, file)
	x.put(asked, s, Digest{}, time.Unix(2e9, 0))
	x.put("left", s, Digest{}, time.Unix(2e9, 0))
	for i := range maxIdle + 2 {
		x.put("each time", stamp{size: int64(i)}, Digest{}, time.Unix(2e9, 0))
		if err := x.Save(); err != nil {
			t.Fatal(err)
		}
		x = openIndex(t, file)
		if _, ok := x.lookup(asked, s); !ok {
			t.Fatalf("forgotten after %d saves", i)
		}
	}
	if _, ok := x.entries["left"]; ok {
		t.Errorf("%d entries", len(x.entries))
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); err != nil || len(left) > 0 {
		t.Errorf("Save left %v, %v", left, err)
	}
}
