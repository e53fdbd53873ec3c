package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/modpipe/modpipe/internal/filestore"
	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
)

// Directory has the files of one attempt.
type Directory struct {
	m     *Machine
	files *jobs.JobFiles
	store *filestore.Store
	pin   *filestore.Pin
	path  string
	own   bool // it was made for the attempt, and does not outlive it with its content
	root  *os.Root
	left  left        // how the directory serves another attempt; without a mark it does not
	gone  bool        // nothing of the attempt is left
	index *tree.Index // of the workspace of a worker

	artifacts Artifacts
	kept      []keptDir // its cache directories
	declared  declared  // in the workspace of a worker
	found     workspace.Found
}

// Prepare fetches the files of an attempt and writes them into a directory of its
// own; or, with the workspace of a worker, into that, where the files of the run are
// already. The caller closes the Directory.
func (m *Machine) Prepare(ctx context.Context, f *jobs.JobFiles, dir string) (workspace.Directory, error) {
	d, err := m.prepare(ctx, f, dir)
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (m *Machine) prepare(ctx context.Context, f *jobs.JobFiles, dir string) (_ *Directory, err error) {
	store, err := m.Store(ctx)
	if err != nil {
		return nil, err
	}
	d := &Directory{m: m, files: f, store: store, pin: store.Pin(), path: dir, own: dir == ""}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if d.own {
		if err := d.writeSnapshot(ctx); err != nil {
			return nil, err
		}
	} else {
		d.index = m.index(dir, store)
	}
	if d.root, err = openRoot(d.path); err != nil {
		return nil, err
	}
	d.artifacts.d = d
	d.found.Artifacts = &d.artifacts
	if err := d.restoreDirs(ctx); err != nil {
		return nil, err
	}
	return d, d.restore(ctx)
}

func openRoot(path string) (*os.Root, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, machine.Errorf("open the directory of the attempt: %w", machine.WithoutPath(err))
	}
	return root, nil
}

// newDirectory creates a directory beside the store: contents can be cloned
// within one file system.
func newDirectory(store *filestore.Store) (string, error) {
	dir, err := store.NewDirectory()
	if err != nil {
		return "", machine.Errorf("create a directory for the attempt in %s: %w", store.Dir(), machine.WithoutPath(err))
	}
	return dir, nil
}

// Found is what the attempt finds.
func (d *Directory) Found() workspace.Found {
	found := d.found
	found.Dir, found.Hermetic = d.path, d.own && d.files.Narrow
	if d.declared.faithful {
		found.Faithful = d.asDeclared
	}
	return found
}

// writeSnapshot provides the files of the run, or those that the module declares as
// its inputs. Content that turns out to be damaged is fetched again.
func (d *Directory) writeSnapshot(ctx context.Context) error {
	for try := 1; ; try++ {
		t, at, err := d.snapshot(ctx)
		if err != nil {
			return err
		}
		err = d.provide(ctx, t, at)
		if err == nil {
			return nil
		}
		if !errors.Is(err, filestore.ErrMissing) {
			return fmt.Errorf("write the workspace of the run: %w", err)
		}
		if try == fetchTries {
			return fmt.Errorf("write the workspace of the run: %w", lostAgain(err))
		}
		d.verify(ctx, t)
		if err := d.restart(); err != nil {
			return err
		}
	}
}

// verify reads what the store of the machine has of a tree. The store removes what is
// damaged, so that it is fetched again.
func (d *Directory) verify(ctx context.Context, t *tree.Tree) {
	for _, digest := range digests(t) {
		r, err := d.store.Open(ctx, digest)
		if err != nil {
			continue // the next fetch or write reports it
		}
		_, _ = io.Copy(io.Discard, r) // see above
		_ = r.Close()                 // it was only read
	}
}

// fetchTries is how often content is fetched that the store of the machine loses
// before it is used: it was damaged on the disk.
const fetchTries = 3

// lostAgain is the error of content that the store of the machine loses every time:
// another machine can run the attempt.
func lostAgain(err error) error {
	return machine.Errorf("the store of this machine loses what it is given: %w", err)
}

// snapshot fetches the files of the run, and the time that they get.
func (d *Directory) snapshot(ctx context.Context) (*tree.Tree, time.Time, error) {
	all, at := &tree.Tree{}, time.Time{}
	if ref := d.files.Workspace; ref != nil {
		t, err := d.fetch(ctx, *ref, d.files.Narrow, d.files.Inputs)
		if err != nil {
			return nil, at, fmt.Errorf("fetch the workspace of the run: %w", err)
		}
		all, at = t, ref.Time
	}
	if ref := d.files.Git; ref != nil {
		t, err := d.fetch(ctx, *ref, false, nil) // its paths begin with .git
		if err == nil {
			all, err = tree.Merge(tree.Named{Name: "the workspace", Tree: all}, tree.Named{Name: "its history", Tree: t})
		}
		if err != nil {
			return nil, at, fmt.Errorf("fetch the history of the workspace: %w", err)
		}
		if at.IsZero() {
			at = ref.Time
		}
	}
	return all, at, nil
}

// fetch makes sure that the machine has the contents of a tree, or of what globs
// select of it, and keeps them there until the directory is closed.
func (d *Directory) fetch(ctx context.Context, ref jobs.Tree, narrow bool, globs []string) (*tree.Tree, error) {
	from, err := transfer.Open(ctx, d.m.cfg.Remote, ref)
	if err != nil {
		return nil, err
	}
	t := from.Tree()
	var want func(tree.File) bool
	if narrow {
		patterns, err := tree.ParsePatterns(globs)
		if err != nil {
			return nil, err
		}
		want = func(f tree.File) bool { return patterns.Match(f.Path) }
		if t, err = t.Select(globs); err != nil {
			return nil, err
		}
	}
	if err := d.pin.Add(ctx, digests(t)...); err != nil {
		return nil, err
	}
	_, err = from.FetchAll(ctx, d.store, want)
	return t, err
}

func digests(t *tree.Tree) []tree.Digest {
	found := make([]tree.Digest, 0, len(t.Files))
	for _, f := range t.Files {
		if f.HasContent() {
			found = append(found, f.Digest)
		}
	}
	return found
}

// write writes a tree into the directory. In the workspace of a worker, what
// differs there already is a fault.
func (d *Directory) write(ctx context.Context, t *tree.Tree, at time.Time) error {
	return tree.Write(ctx, t, d.root, d.store, tree.WriteOptions{Time: at, Replace: d.own, Index: d.index})
}

// Close removes the directory if it was made for the attempt, or keeps it for another
// one: see Gone. It lets the store evict the contents.
func (d *Directory) Close() error {
	d.artifacts.close()
	errs := []error{d.removeDirs()}
	if d.root != nil {
		errs = append(errs, d.root.Close())
	}
	if d.own {
		errs = append(errs, d.abandon())
	}
	return errors.Join(append(errs, d.pin.Release())...)
}

// restart removes the directory, and what is known of it.
func (d *Directory) restart() error {
	err := d.abandon()
	d.path, d.left = "", left{}
	return err
}
