package files

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
)

// Artifacts opens the artifacts that a function consumes as values. It is safe for
// concurrent use, until its Directory is closed.
type Artifacts struct {
	d      *Directory
	closed atomic.Bool

	mu     sync.Mutex
	opened map[artifactName]*artifact
}

type artifactName struct{ need, name string }

// artifact is an opened artifact: one tree, or one for each member of a family.
type artifact struct {
	restores []jobs.Restore
	sources  []*transfer.Source
	tree     *tree.Tree
	time     time.Time
}

// Open returns the files of an artifact. A file is fetched when it is opened, and
// stays in the store of the machine until the attempt ends. The error of an artifact
// that was not left is fs.ErrNotExist.
func (a *Artifacts) Open(ctx context.Context, need, name string) (fs.FS, error) {
	x, err := a.open(ctx, need, name)
	if err != nil {
		return nil, err
	}
	return newView(ctx, a, x), nil
}

func (a *Artifacts) open(ctx context.Context, need, name string) (*artifact, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed.Load() {
		return nil, fs.ErrClosed
	}
	of := artifactName{need, name}
	if x := a.opened[of]; x != nil {
		return x, nil
	}
	x, err := a.load(ctx, of)
	if err != nil {
		return nil, err
	}
	if a.opened == nil {
		a.opened = map[artifactName]*artifact{}
	}
	a.opened[of] = x
	return x, nil
}

func (a *Artifacts) load(ctx context.Context, of artifactName) (*artifact, error) {
	x := &artifact{}
	var parts []tree.Named
	for _, r := range a.d.files.Restore {
		if !r.Open || r.Need != of.need || r.Name != of.name {
			continue
		}
		s, err := transfer.Open(ctx, a.d.m.cfg.Remote, r.Tree)
		if err != nil {
			return nil, fmt.Errorf("fetch %s: %w", describe(r), err)
		}
		t, err := s.Tree().Below(r.To)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", describe(r), err)
		}
		x.restores, x.sources = append(x.restores, r), append(x.sources, s)
		parts = append(parts, tree.Named{Name: describe(r), Tree: t})
		if r.Tree.Time.After(x.time) {
			x.time = r.Tree.Time
		}
	}
	if len(parts) == 0 {
		return nil, fs.ErrNotExist
	}
	var err error
	if x.tree, err = tree.Merge(parts...); err != nil {
		return nil, err
	}
	return x, a.d.pin.Add(ctx, digests(x.tree)...)
}

// fetch makes sure that the machine has the content of a file.
func (a *Artifacts) fetch(ctx context.Context, x *artifact, file tree.File) error {
	i := slices.IndexFunc(x.sources, func(s *transfer.Source) bool { return s.Has(file.Digest) })
	return x.sources[max(i, 0)].Fetch(ctx, a.d.store, file)
}

// Unpack writes the files of an artifact below a directory, which it creates. What
// differs there already is an error.
func (a *Artifacts) Unpack(ctx context.Context, need, name, dir string) error {
	x, err := a.open(ctx, need, name)
	if err != nil {
		return err
	}
	for _, s := range x.sources {
		if _, err := s.FetchAll(ctx, a.d.store, nil); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil { //nolint:gosec // less the umask, as the files
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // nothing is written through it any more
	return tree.Write(ctx, x.tree, root, a.d.store, tree.WriteOptions{Time: x.time})
}

func (a *Artifacts) close() {
	a.mu.Lock()
	a.closed.Store(true)
	a.mu.Unlock()
}
