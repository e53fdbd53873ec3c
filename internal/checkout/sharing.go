package checkout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/modpipe/modpipe/internal/atomicfile"
)

// lock is what a workspace has in .git: a lock, which workers share while modules of
// one snapshot run, and a file that names the snapshot of the last sync.
type lock struct {
	*flock.Flock
	state string
}

func newLock(git string) *lock {
	return &lock{
		Flock: flock.New(filepath.Join(git, "modpipe-sync.lock"), flock.SetPermissions(0o644)),
		state: filepath.Join(git, "modpipe-sync"),
	}
}

// lockPoll is how often a lock is tried that another process holds.
const lockPoll = 20 * time.Millisecond

// synced returns the snapshot that the workspace was brought to. ok reports whether
// there was any sync; one that did not end leaves "".
func (l *lock) synced() (root string, ok bool, err error) {
	text, err := os.ReadFile(l.state)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	return string(text), err == nil, err
}

func (l *lock) note(root string) error { return atomicfile.Write(l.state, []byte(root), 0o644) }

// sharing lets attempts of one snapshot into a workspace, and makes those of another
// one wait.
type sharing struct {
	lock *lock

	mu    sync.Mutex // guards the fields below
	root  string     // the snapshot of the attempts that are in it
	users int
	busy  bool            // a sync goes on
	queue []chan struct{} // of those who wait, in the order of arrival; the first one is closed when it may try
}

// enter waits until the workspace has no attempt of another snapshot, calls prepare
// unless other attempts of the same one are in it, and returns what the caller calls
// at the end. prepare is called by one attempt at a time on all workers, and is
// told whether the last sync was to this snapshot.
func (s *sharing) enter(ctx context.Context, root string, prepare func(ctx context.Context, current bool) error) (release func(), err error) {
	alone, err := s.await(ctx, root)
	if err != nil {
		return nil, err
	}
	if alone {
		err = s.acquire(ctx, root, prepare)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
	if err != nil {
		s.end()
		return nil, err
	}
	s.wake()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.end()
	}, nil
}

// await waits for the caller's turn. Then busy is set, and the caller is a user; alone
// reports whether it is the only one.
func (s *sharing) await(ctx context.Context, root string) (alone bool, err error) {
	turn := make(chan struct{})
	s.mu.Lock()
	s.queue = append(s.queue, turn)
	s.wake()
	s.mu.Unlock()
	for {
		var err error
		select {
		case <-turn:
		case <-ctx.Done():
			select {
			case <-turn: // what is in the way is found below
			default:
				err = fmt.Errorf("modules of other snapshots still run in it: %w", context.Cause(ctx))
			}
		}
		s.mu.Lock()
		if err == nil && (s.busy || s.users > 0 && s.root != root) {
			turn = make(chan struct{})
			s.queue[0] = turn // the first in the queue is the only one that is woken
			s.mu.Unlock()
			continue
		}
		s.leaveQueue(turn)
		if err == nil {
			s.root, s.busy = root, true
			s.users++
		} else {
			s.wake()
		}
		alone = s.users == 1
		s.mu.Unlock()
		return alone, err
	}
}

func (s *sharing) leaveQueue(turn chan struct{}) {
	for i, t := range s.queue {
		if t == turn {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			return
		}
	}
}

// wake lets the first in the queue try.
func (s *sharing) wake() {
	if len(s.queue) == 0 || s.busy {
		return
	}
	select {
	case <-s.queue[0]:
	default:
		close(s.queue[0])
	}
}

// end removes a user.
func (s *sharing) end() {
	if s.users--; s.users == 0 {
		_ = s.lock.Unlock() // it can fail only for a descriptor that is closed
	}
	s.wake()
}

// acquire prepares the workspace under the lock of all workers, and shares the lock
// then. Another worker may come between the two: then it begins again.
func (s *sharing) acquire(ctx context.Context, root string, prepare func(ctx context.Context, current bool) error) error {
	for {
		if _, err := s.lock.TryLockContext(ctx, lockPoll); err != nil {
			return fmt.Errorf("another worker uses it (%s): %w", s.lock.Path(), err)
		}
		is, _, err := s.lock.synced()
		if err == nil {
			err = prepare(ctx, is == root)
		}
		if err == nil {
			err = s.lock.Unlock()
		}
		if err != nil {
			return err
		}
		if _, err := s.lock.TryRLockContext(ctx, lockPoll); err != nil {
			return fmt.Errorf("another worker uses it (%s): %w", s.lock.Path(), err)
		}
		if is, _, err := s.lock.synced(); err != nil || is == root {
			return err
		}
		if err := s.lock.Unlock(); err != nil {
			return err
		}
	}
}
