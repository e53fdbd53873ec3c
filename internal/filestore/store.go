package filestore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/tree"
)

// DefaultMax is the size of a store for which no other is configured: 10 GiB.
const DefaultMax = 10 << 30

// ErrMissing reports that the store does not have the content or the record:
// it was never added, it was evicted, or it was damaged and has been removed.
// The caller obtains it elsewhere and adds it again.
var ErrMissing = errors.New("not in the file store of this machine")

// ErrDigest reports that added content does not have the expected digest.
var ErrDigest = errors.New("digest mismatch")

// empty is the digest of no bytes.
var empty = tree.Digest(sha256.Sum256(nil))

// Store keeps contents and records in one directory. It is safe for concurrent
// use by many goroutines, and any number of processes may open one directory.
type Store struct {
	dir   string
	max   int64 // in bytes on disk; above it, content is evicted
	low   int64 // eviction stops here
	user  *user // the presence of this Store among the users of the directory
	state *lock // guards usage, pins and the names of files, across processes
	trims *lock // held by the one process that evicts

	verified verified
	noClone  sync.Map     // pairs of devices between which cloning is not possible
	stuck    atomic.Int64 // eviction at this usage freed too little; > 0 = not tried again before a pin ends or it has grown
	pinNames atomic.Uint64
	tmpNames atomic.Uint64

	// The seams of tests.
	now   func() time.Time
	write func(f *os.File, p []byte) (int, error)
	fresh time.Duration // a use within this time after the last one is not recorded
}

// DefaultDir returns the directory of the store for which no other is
// configured: modpipe/files in the user's cache directory, which is
// $XDG_CACHE_HOME or the one that the system defines.
func DefaultDir() (string, error) {
	base := os.Getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(base) { // the XDG specification ignores relative paths
		var err error
		if base, err = os.UserCacheDir(); err != nil {
			return "", fmt.Errorf("find the cache directory for files (name one with --files-dir): %w", err)
		}
	}
	return filepath.Join(base, "modpipe", "files"), nil
}

// Open opens the store in dir, which is created if it does not exist. max limits
// the bytes on disk; 0 = DefaultMax. The caller closes the store.
//
// Open also removes what processes left that no longer run. The machine causes
// its errors.
func Open(ctx context.Context, dir string, limit int64) (*Store, error) {
	if limit <= 0 {
		limit = DefaultMax
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, machine.Errorf("open the file store: %w", err)
	}
	s := &Store{
		dir: dir, max: limit, low: limit - limit/10,
		now: time.Now, write: (*os.File).Write, fresh: time.Hour,
		verified: verified{settled: settled},
	}
	s.state = newLock(filepath.Join(dir, "lock"))
	s.trims = newLock(filepath.Join(dir, "evict.lock"))
	if err := s.start(ctx); err != nil {
		return nil, machine.Errorf("open the file store %s: %w", dir, err)
	}
	return s, nil
}

func (s *Store) start(ctx context.Context) error {
	for _, sub := range []string{contentDir, recordDir, usersDir} {
		if err := os.MkdirAll(filepath.Join(s.dir, sub), 0o700); err != nil {
			return err
		}
	}
	if err := s.collectUsers(ctx); err != nil {
		return err
	}
	if err := s.state.take(ctx); err != nil {
		return err
	}
	defer s.state.release()
	var err error
	s.user, err = newUser(filepath.Join(s.dir, usersDir))
	return err
}

// Close ends the use of the store: its pins end, and unfinished writers are
// discarded. Nothing may use the store afterwards.
func (s *Store) Close() error { return s.user.end() }

// Dir returns the directory of the store.
func (s *Store) Dir() string { return s.dir }

// Has reports whether the store has content. It does not read it, so that a
// later use may still find it damaged, and it may be evicted unless it is pinned.
func (s *Store) Has(d tree.Digest) bool {
	info, err := os.Lstat(s.path(d))
	return err == nil && info.Mode().IsRegular() && (info.Size() > 0 || d == empty)
}

// Missing returns the digests whose content the store lacks, in their order,
// each once for every time that it is asked for. Pin the digests before: what is
// present then stays.
func (s *Store) Missing(digests []tree.Digest) []tree.Digest {
	var missing []tree.Digest
	for _, d := range digests {
		if !s.Has(d) {
			missing = append(missing, d)
		}
	}
	return missing
}

const (
	contentDir = "content" // content/ab/abcd…: complete files, by their digests
	recordDir  = "records" // records/kind/ab/abcd…: complete records, by the hashes of their keys
	usersDir   = "users"   // users/id: the lock, the pins and the unfinished files of one open Store
)

func (s *Store) path(d tree.Digest) string {
	name := d.String()
	return filepath.Join(s.dir, contentDir, name[:2], name)
}

// install gives a complete file its name in the store, and counts it. An
// existing file of this name is replaced: the new one has just been verified.
func (s *Store) install(ctx context.Context, tmp, final string, size int64) error {
	if err := s.state.take(ctx); err != nil {
		return err
	}
	defer s.state.release()
	var replaced int64
	if old, err := os.Lstat(final); err == nil {
		replaced = cost(old.Size())
	}
	// The count comes first: a kill after it leaves a count that is too high,
	// which the next scan corrects.
	if err := s.count(cost(size) - replaced); err != nil {
		return err
	}
	err := os.Rename(tmp, final)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(final), 0o700); err == nil {
			err = os.Rename(tmp, final)
		}
	}
	return err
}

// removeIfSame removes a file of the store unless another one has taken its name.
func (s *Store) removeIfSame(ctx context.Context, path string, damaged fs.FileInfo) error {
	if err := s.state.take(ctx); err != nil {
		return err
	}
	defer s.state.release()
	now, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(now, damaged) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return s.count(-cost(now.Size()))
}
