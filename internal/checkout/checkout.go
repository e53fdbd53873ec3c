package checkout

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/filestore"
	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/snapshot"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
)

// config is where a Checkout is, and where it has files from.
type config struct {
	Dir    string // the workspace of the worker
	Sync   bool   // bring it to the snapshot of each run; else compare it
	Remote content.Store
	Store  func(context.Context) (*filestore.Store, error) // of this machine
}

// Checkout is the workspace of a worker. It is safe for concurrent use.
type Checkout struct {
	cfg    config
	git    string // the directory .git; only with Sync
	shared sharing

	mu   sync.Mutex // guards seen
	seen map[jobs.RunID]bool
}

// New returns the checkout in a directory. With sync it brings the directory to the
// snapshots of runs; else it compares them. With sync the directory must be in a git
// work tree: git decides what a sync removes. Use completes it.
func New(ctx context.Context, dir string, sync bool) (*Checkout, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("workspace: %w", err)
	}
	c := &Checkout{cfg: config{Dir: dir, Sync: sync}}
	if !sync {
		return c, nil
	}
	if c.git, err = snapshot.GitDir(ctx, dir); err != nil {
		return nil, err
	}
	if c.git == "" {
		return nil, fmt.Errorf("%s is not in a git work tree, and git decides which files a sync removes: clone the repository there, or run `git init` in it", dir)
	}
	c.shared.lock = newLock(c.git)
	return c, nil
}

// Use names the store that all machines share, and that of this machine. It is called
// before the first Enter.
func (c *Checkout) Use(remote content.Store, store func(context.Context) (*filestore.Store, error)) {
	c.cfg.Remote, c.cfg.Store = remote, store
}

// mostSeen bounds the runs that are remembered. A run that was forgotten is
// compared or synced again.
const mostSeen = 1000

// first reports whether the run is new.
func (c *Checkout) first(run jobs.RunID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen[run] {
		return false
	}
	if c.seen == nil || len(c.seen) >= mostSeen {
		c.seen = map[jobs.RunID]bool{}
	}
	c.seen[run] = true
	return true
}

func (c *Checkout) forget(run jobs.RunID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.seen, run)
}

// Enter lets an attempt of a run begin in the workspace. leave ends that, and returns
// a sentence about how the files differ from the snapshot; "" = no difference is
// known. The caller calls it when no process of the attempt is left.
func (c *Checkout) Enter(ctx context.Context, of workspace.Visit) (leave func() string, err error) {
	switch {
	case of.Snapshot.Files == 0: // the run took nothing along
		return func() string { return "" }, nil
	case !c.cfg.Sync:
		return c.compareBeside(ctx, of), nil
	}
	release, err := c.shared.enter(ctx, of.Snapshot.Root, func(ctx context.Context, current bool) error {
		if !c.first(of.Run) && current {
			return nil
		}
		err := c.sync(ctx, of.Snapshot)
		if err != nil {
			c.forget(of.Run)
		}
		return err
	})
	if err != nil {
		return nil, machine.Errorf("bring the workspace %s to the snapshot of the run: %w", c.cfg.Dir, err)
	}
	return func() string { release(); return "" }, nil
}

// index remembers the digests of the files of the workspace, beside the store.
func (c *Checkout) index(store *filestore.Store) *tree.Index {
	dir := indexDir(store)
	if os.MkdirAll(dir, 0o700) != nil {
		return nil // every file is read
	}
	index, err := tree.OpenIndex(snapshot.IndexFile(dir, c.cfg.Dir))
	if err != nil {
		return nil
	}
	return index
}

func indexDir(store *filestore.Store) string {
	return filepath.Join(filepath.Dir(store.Dir()), "index")
}
