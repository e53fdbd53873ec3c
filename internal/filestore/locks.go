package filestore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"

	"github.com/modpipe/modpipe/internal/pause"
)

// lockWait bounds the wait for a lock. A holder needs milliseconds for the state
// and seconds for an eviction, so a longer wait means that it is suspended.
const lockWait = 2 * time.Minute

// lock is a lock among the goroutines of this process and among processes. The
// system releases it when its process dies.
type lock struct {
	busy chan struct{} // holds one element while a goroutine of this Store has the lock
	file *flock.Flock
}

func newLock(path string) *lock {
	return &lock{busy: make(chan struct{}, 1), file: flock.New(path, flock.SetPermissions(0o600))}
}

// take waits for the lock until ctx ends, and for two minutes at most.
func (l *lock) take(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, lockWait,
		fmt.Errorf("another process has held the lock %s for more than %v; end that process if it is suspended", l.file.Path(), lockWait))
	defer cancel()
	select {
	case l.busy <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for wait := 100 * time.Microsecond; ; wait = min(2*wait, 10*time.Millisecond) {
		got, err := l.file.TryLock()
		if got {
			return nil
		}
		if err == nil {
			err = pause.For(ctx, wait)
		}
		if err != nil {
			<-l.busy
			return err
		}
	}
}

func (l *lock) release() {
	_ = l.file.Unlock() // it can fail only for a descriptor that is closed
	<-l.busy
}

// user is the presence of one open Store in the directory: a directory with a
// lock file, which is locked while the Store is open, with pins and with
// unfinished files. One whose lock is free belongs to a process that died.
type user struct {
	dir  string
	lock *flock.Flock
}

const (
	userLock = "lock"
	tmpDir   = "tmp"
	pinDir   = "pins"
)

// newUser creates a user. The caller holds the lock of the state, so that no
// process collects the directory before its lock is taken.
func newUser(users string) (*user, error) {
	u := &user{dir: filepath.Join(users, strconv.Itoa(os.Getpid())+"-"+rand.Text())}
	for _, sub := range []string{tmpDir, pinDir} {
		if err := os.MkdirAll(filepath.Join(u.dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	u.lock = flock.New(filepath.Join(u.dir, userLock), flock.SetPermissions(0o600))
	got, err := u.lock.TryLock()
	if err == nil && !got {
		err = errors.New("the lock file of a new user is locked")
	}
	return u, err
}

func (u *user) end() error {
	return errors.Join(u.lock.Unlock(), removeAll(u.dir))
}

// collectUsers removes what dead users left. What cannot be removed now is tried
// again by the next collection, and no longer pins anything.
func (s *Store) collectUsers(ctx context.Context) error {
	dead, err := s.deadUsers(ctx)
	for _, dir := range dead {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, pinDir)))
		_ = removeAll(dir) // an attempt may have made its directories read-only
	}
	return err
}

// deadUsers finds the directories whose Store is not open any more. The removal
// does not need the lock: no process uses them again.
func (s *Store) deadUsers(ctx context.Context) ([]string, error) {
	if err := s.state.take(ctx); err != nil {
		return nil, err
	}
	defer s.state.release()
	users := filepath.Join(s.dir, usersDir)
	dirs, err := os.ReadDir(users)
	var dead []string
	for _, d := range dirs {
		dir := filepath.Join(users, d.Name())
		is, aerr := abandoned(dir)
		err = errors.Join(err, aerr)
		if is {
			dead = append(dead, dir)
		}
	}
	return dead, err
}

// abandoned reports whether the Store of a user's directory is not open any more.
func abandoned(dir string) (bool, error) {
	l := flock.New(filepath.Join(dir, userLock), flock.SetFlag(os.O_RDWR))
	got, err := l.TryLock()
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // killed before it created the lock, or while it ended
	}
	if err != nil || !got {
		return false, err
	}
	return true, l.Unlock()
}

// removeAll removes a directory with everything in it, including directories
// that an attempt has made read-only.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, _ error) error {
		if e != nil && e.IsDir() {
			_ = os.Chmod(path, 0o700) // WalkDir reads the directory after this call
		}
		return nil
	})
	return os.RemoveAll(dir)
}
