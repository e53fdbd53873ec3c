package filestore

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/modpipe/modpipe/internal/tree"
)

// Trim evicts what is above the limit of the store and no longer pinned. Adding
// does it too; a caller that has released pins and adds nothing calls it.
func (s *Store) Trim(ctx context.Context) error {
	_, err := s.trim(ctx, 0)
	return err
}

// trim evicts the least recently used files until the store is below its limit,
// and until at least need bytes are free; 0 = only the limit counts. It returns
// how many bytes it freed.
func (s *Store) trim(ctx context.Context, need int64) (int64, error) {
	if over, err := s.over(ctx); err != nil || !over && need == 0 {
		return 0, err
	}
	if err := s.trims.take(ctx); err != nil {
		return 0, s.failed("evict files", err)
	}
	defer s.trims.release()
	var freed int64
	for {
		over, err := s.over(ctx) // another process may have done the work
		if err != nil || !over && freed >= need {
			return freed, err
		}
		n, err := s.pass(ctx, need-freed)
		freed += n
		if err != nil {
			return freed, s.failed("evict files", err)
		}
		if n == 0 {
			return freed, s.giveUp(ctx)
		}
	}
}

// over reports whether an eviction for the limit should begin.
func (s *Store) over(ctx context.Context) (bool, error) {
	if err := s.state.take(ctx); err != nil {
		return false, s.failed("read the usage", err)
	}
	defer s.state.release()
	u, known, err := s.readUsage()
	if err != nil {
		return false, s.failed("read the usage", err)
	}
	stuck := s.stuck.Load()
	return !known || u.used > s.max && (stuck == 0 || u.used > stuck), nil
}

// pass scans the store once and evicts the least recently used files that were
// not pinned. The caller holds the lock of evictions.
func (s *Store) pass(ctx context.Context, need int64) (int64, error) {
	pins := newPinned(filepath.Join(s.dir, usersDir))
	u, err := s.beginScan(ctx, pins)
	if err != nil {
		return 0, err
	}
	found, err := s.scan(ctx, pins, max(need, u.used-s.low))
	if err != nil {
		return 0, err
	}
	goal, err := s.endScan(ctx, found.total)
	if err != nil {
		return 0, err
	}
	goal = max(goal, need)
	var freed int64
	for batch := range slices.Chunk(found.coldest(), evictBatch) {
		if freed >= goal {
			break
		}
		n, err := s.evict(ctx, pins, batch, goal-freed)
		freed += n
		if err != nil {
			return freed, err
		}
	}
	return freed, nil
}

// giveUp remembers that the store cannot be brought below its limit now: the
// next attempt follows when a pin of this process ends, or after the store has
// grown by a sixteenth of the limit.
func (s *Store) giveUp(ctx context.Context) error {
	if err := s.state.take(ctx); err != nil {
		return s.failed("read the usage", err)
	}
	defer s.state.release()
	u, _, err := s.readUsage()
	if err != nil {
		return s.failed("read the usage", err)
	}
	if u.used > s.max {
		s.stuck.Store(u.used + s.max/16)
	}
	return nil
}

// beginScan loads the pins, removes what dead processes left, and begins to
// count what is added while the scan runs.
func (s *Store) beginScan(ctx context.Context, pins *pinned) (usage, error) {
	if err := s.collectUsers(ctx); err != nil {
		return usage{}, err
	}
	if err := s.state.take(ctx); err != nil {
		return usage{}, err
	}
	defer s.state.release()
	if err := pins.update(); err != nil {
		return usage{}, err
	}
	u, known, err := s.readUsage()
	if err != nil {
		return u, err
	}
	if !known {
		u.used = s.max
	}
	u.since = 0
	return u, s.writeUsage(u)
}

// endScan corrects the usage, and returns how much is to be evicted for the limit.
func (s *Store) endScan(ctx context.Context, total int64) (int64, error) {
	if err := s.state.take(ctx); err != nil {
		return 0, err
	}
	defer s.state.release()
	u, known, err := s.readUsage()
	if err != nil {
		return 0, err
	}
	if !known {
		u = usage{}
	}
	u.used = total + u.since
	if err := s.writeUsage(u); err != nil {
		return 0, err
	}
	if u.used <= s.max {
		return 0, nil
	}
	return u.used - s.low, nil
}

const (
	// evictBatch is how many files are evicted under the lock of the state at a
	// time: others wait for a few milliseconds.
	evictBatch = 64
	// mostCandidates bounds the memory of a scan, at about 100 bytes a file. A
	// further scan follows when they are not enough.
	mostCandidates = 1 << 17
)

// evict removes files in their order until goal bytes are freed, except for those
// that have been pinned or used since the scan.
func (s *Store) evict(ctx context.Context, pins *pinned, batch []candidate, goal int64) (int64, error) {
	if err := s.state.take(ctx); err != nil {
		return 0, err
	}
	defer s.state.release()
	if err := pins.update(); err != nil {
		return 0, err
	}
	var freed int64
	for _, c := range batch {
		if freed >= goal {
			break
		}
		if c.kind == "" && pins.has(c.digest) {
			continue
		}
		path := s.candidatePath(c)
		info, err := os.Lstat(path)
		if err != nil || info.ModTime().UnixNano() != c.used {
			continue
		}
		if os.Remove(path) == nil { // Windows keeps a file that is open: the next one goes
			freed += cost(info.Size())
		}
	}
	return freed, s.count(-freed)
}

// candidate is a file that may be evicted.
type candidate struct {
	digest tree.Digest // or the hash of a record's key
	kind   string      // of a record; "" = content
	used   int64       // when it was used last, in nanoseconds of Unix time
	cost   int64
}

func (s *Store) candidatePath(c candidate) string {
	name := c.digest.String()
	if c.kind == "" {
		return filepath.Join(s.dir, contentDir, name[:2], name)
	}
	return filepath.Join(s.dir, recordDir, c.kind, name[:2], name)
}

func byUse(a, b candidate) int {
	return cmp.Or(cmp.Compare(a.used, b.used), slices.Compare(a.digest[:], b.digest[:]), cmp.Compare(a.kind, b.kind))
}

// candidates collects the least recently used files that together take want
// bytes: a heap with the most recently used one on top.
type candidates struct {
	files []candidate
	sum   int64 // of their costs
	want  int64
	total int64 // of all files of the store
}

func (c *candidates) Len() int           { return len(c.files) }
func (c *candidates) Less(i, j int) bool { return byUse(c.files[i], c.files[j]) > 0 }
func (c *candidates) Swap(i, j int)      { c.files[i], c.files[j] = c.files[j], c.files[i] }

// Push implements heap.Interface.
func (c *candidates) Push(x any) { c.files = append(c.files, x.(candidate)) }

// Pop implements heap.Interface.
func (c *candidates) Pop() any {
	last := c.files[len(c.files)-1]
	c.files = c.files[:len(c.files)-1]
	return last
}

func (c *candidates) add(f candidate) {
	heap.Push(c, f)
	c.sum += f.cost
	for len(c.files) > 1 && (c.sum-c.files[0].cost >= c.want || len(c.files) > mostCandidates) {
		c.sum -= heap.Pop(c).(candidate).cost
	}
}

func (c *candidates) coldest() []candidate {
	return slices.SortedFunc(slices.Values(c.files), byUse)
}

// scan looks at every file of the store.
func (s *Store) scan(ctx context.Context, pins *pinned, want int64) (*candidates, error) {
	found := &candidates{want: want}
	err := s.scanShards(ctx, filepath.Join(s.dir, contentDir), "", pins, found)
	kinds, kerr := os.ReadDir(filepath.Join(s.dir, recordDir))
	err = errors.Join(err, kerr)
	for _, k := range kinds {
		err = errors.Join(err, s.scanShards(ctx, filepath.Join(s.dir, recordDir, k.Name()), k.Name(), pins, found))
	}
	return found, err
}

// scanShards looks at the files of the 256 directories in dir, one directory at a
// time.
func (s *Store) scanShards(ctx context.Context, dir, kind string, pins *pinned, found *candidates) error {
	shards, err := os.ReadDir(dir)
	for _, shard := range shards {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		files, ferr := os.ReadDir(filepath.Join(dir, shard.Name()))
		err = errors.Join(err, ferr)
		for _, f := range files {
			info, ierr := f.Info()
			if errors.Is(ierr, fs.ErrNotExist) {
				continue
			}
			d, derr := tree.ParseDigest(f.Name())
			if ierr != nil || derr != nil || !info.Mode().IsRegular() {
				continue // not ours
			}
			found.total += cost(info.Size())
			if kind != "" || !pins.has(d) {
				found.add(candidate{d, kind, info.ModTime().UnixNano(), cost(info.Size())})
			}
		}
	}
	return err
}
