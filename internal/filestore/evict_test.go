package filestore

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/tree"
)

// clock is a time that passes by a second whenever it is read.
type clock struct{ now time.Time }

func (c *clock) read() time.Time {
	c.now = c.now.Add(time.Second)
	return c.now
}

// machineModel is what a store should be: two Stores share one directory, as two
// processes would.
type machineModel struct {
	stores  []*Store
	texts   map[tree.Digest]string
	used    map[tree.Digest]time.Time // last use of what is present
	pins    []*modelPin
	clock   *clock
	limit   int64
	low     int64
	present map[tree.Digest]bool
}

type modelPin struct {
	pin     *Pin
	digests []tree.Digest
}

func (m *machineModel) pinned(d tree.Digest) bool {
	return slices.ContainsFunc(m.pins, func(p *modelPin) bool { return slices.Contains(p.digests, d) })
}

func (m *machineModel) total() int64 {
	var sum int64
	for d := range m.present {
		sum += cost(int64(len(m.texts[d])))
	}
	return sum
}

// observe compares what the directory holds with what it held.
func (m *machineModel) observe(t *rapid.T) {
	before := m.total()
	var evicted []tree.Digest
	for d := range m.present {
		if !m.stores[0].Has(d) {
			evicted = append(evicted, d)
			delete(m.present, d)
		}
	}
	after := m.total()
	if len(evicted) > 0 && before <= m.limit {
		t.Fatalf("%d files were evicted at %d of %d bytes", len(evicted), before, m.limit)
	}
	var last tree.Digest
	for _, d := range evicted {
		if m.pinned(d) {
			t.Fatalf("pinned content was evicted")
		}
		if m.used[d].After(m.used[last]) {
			last = d
		}
		for o := range m.present {
			if !m.pinned(o) && m.used[o].Before(m.used[d]) {
				t.Fatalf("evicted a file used at %v before one used at %v", m.used[d], m.used[o])
			}
		}
	}
	if len(evicted) > 0 && after+cost(int64(len(m.texts[last]))) <= m.low {
		t.Fatalf("more was evicted than needed: %d bytes are left of %d", after, m.low)
	}
	m.checkUsage(t, after)
}

func (m *machineModel) checkUsage(t *rapid.T, total int64) {
	if u, known, err := m.stores[0].readUsage(); err != nil || known && u.used != total {
		t.Fatalf("the usage is %d, and %d is on disk (%v)", u.used, total, err)
	}
}

func (m *machineModel) store(t *rapid.T) *Store { return rapid.SampledFrom(m.stores).Draw(t, "store") }

func (m *machineModel) some(t *rapid.T) tree.Digest {
	text := fmt.Sprintf("%d:", rapid.IntRange(0, 30).Draw(t, "content"))
	text += strings.Repeat("x", len(text)*1000)
	d := digest(text)
	m.texts[d] = text
	return d
}

func (m *machineModel) add(t *rapid.T) {
	d := m.some(t)
	if err := m.store(t).Add(t.Context(), d, strings.NewReader(m.texts[d])); err != nil {
		t.Fatal(err)
	}
	m.present[d] = true
	m.used[d] = m.clock.now
	m.observe(t)
}

func (m *machineModel) use(t *rapid.T) {
	d := m.some(t)
	r, err := m.store(t).Open(t.Context(), d)
	if (err == nil) != m.present[d] {
		t.Fatalf("present %v: %v", m.present[d], err)
	}
	if err != nil {
		return
	}
	defer r.Close()
	m.used[d] = m.clock.now
	if b, err := io.ReadAll(r); err != nil || string(b) != m.texts[d] {
		t.Fatalf("read %d bytes: %v", len(b), err)
	}
}

func (m *machineModel) pin(t *rapid.T) {
	if len(m.pins) == 0 || rapid.Bool().Draw(t, "new") {
		m.pins = append(m.pins, &modelPin{pin: m.store(t).Pin()})
	}
	p := rapid.SampledFrom(m.pins).Draw(t, "pin")
	for range rapid.IntRange(0, 5).Draw(t, "n") {
		d := m.some(t)
		p.digests = append(p.digests, d)
		if err := p.pin.Add(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
}

func (m *machineModel) release(t *rapid.T) {
	if len(m.pins) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.pins)-1).Draw(t, "pin")
	if err := m.pins[i].pin.Release(); err != nil {
		t.Fatal(err)
	}
	m.pins = slices.Delete(m.pins, i, i+1)
}

// trim brings the store below its limit, unless pinned content is more than that.
func (m *machineModel) trim(t *rapid.T) {
	for _, s := range m.stores {
		s.stuck.Store(0)
	}
	if err := m.store(t).Trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.observe(t)
	if m.total() <= m.limit {
		return
	}
	for d := range m.present {
		if !m.pinned(d) {
			t.Fatalf("%d of %d bytes are used, and unpinned content is left", m.total(), m.limit)
		}
	}
}

func TestEvictionKeepsPinnedAndRecentContent(t *testing.T) {
	top := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir := filepath.Join(top, rand.Text())
		m := &machineModel{
			texts: map[tree.Digest]string{}, used: map[tree.Digest]time.Time{}, present: map[tree.Digest]bool{},
			clock: &clock{time.Unix(1e9, 0)}, limit: 64 << 10, low: 64<<10 - 64<<10/10,
		}
		for range 2 {
			s, err := Open(t.Context(), dir, m.limit)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			s.now, s.fresh = m.clock.read, 0
			m.stores = append(m.stores, s)
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": m.add, "use": m.use, "pin": m.pin, "release": m.release, "trim": m.trim,
		})
	})
}

func TestRecordsAreEvicted(t *testing.T) {
	s := open(t, t.TempDir(), 64<<10)
	c := &clock{time.Unix(1e9, 0)}
	s.now = c.read
	for i := range 64 {
		if err := s.PutRecord(t.Context(), "tree", fmt.Sprint(i), make([]byte, 4000)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Record(t.Context(), "tree", "0"); err == nil {
		t.Error("the oldest record is still there")
	}
	if _, err := s.Record(t.Context(), "tree", "63"); err != nil {
		t.Error(err)
	}
	if u, known, err := s.readUsage(); err != nil || !known || u.used > s.max {
		t.Errorf("%d of %d bytes are used (known %v, %v)", u.used, s.max, known, err)
	}
}

// fullWhile lets the disk of a store be full while blocked is true: a write then
// stores half of its bytes.
func fullWhile(s *Store, blocked func() bool) {
	s.write = func(f *os.File, p []byte) (int, error) {
		if !blocked() {
			return f.Write(p)
		}
		n, _ := f.Write(p[:len(p)/2])
		return n, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
	}
}

func TestFullDiskEvictsUnpinnedContent(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	kept, old := add(t, s, "kept"), add(t, s, "old")
	p := s.Pin()
	if err := p.Add(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	fullWhile(s, func() bool { return s.Has(old) })
	d := add(t, s, strings.Repeat("new", 1000))
	if got, err := read(t, s, d); err != nil || len(got) != 3000 {
		t.Errorf("read %d bytes: %v", len(got), err)
	}
	if !s.Has(kept) || s.Has(old) {
		t.Errorf("kept %v, evicted %v", s.Has(kept), !s.Has(old))
	}
}

func TestFullDiskOfPinnedContentIsAFaultOfTheMachine(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	kept := add(t, s, "kept")
	if err := s.Pin().Add(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	fullWhile(s, func() bool { return true })
	err := s.Add(t.Context(), digest("new"), strings.NewReader("new"))
	if err == nil || !machine.Caused(err) || !strings.Contains(err.Error(), "free space on this disk") {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(filepath.Join(s.user.dir, tmpDir)); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if !s.Has(kept) {
		t.Error("pinned content is gone")
	}
}

func TestPlaceOnAFullDiskEvictsUnpinnedContent(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	d, old := add(t, s, "content"), add(t, s, "old")
	if err := s.Pin().Add(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	root := openRoot(t, t.TempDir())
	s.noClone.Store(deviceOf(t, root), true)
	fullWhile(s, func() bool { return s.Has(old) })
	if err := s.Place(t.Context(), d, root, "f", 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := root.ReadFile("f"); err != nil || string(b) != "content" {
		t.Errorf("%q, %v", b, err)
	}
}
