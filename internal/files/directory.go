package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	own   bool // it was made for the attempt, and is removed with it
	root  *os.Root
}

// Prepare fetches the files of an attempt and writes them into a new directory;
// or, with the workspace of a worker, into that, where the files of the run are
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
	d := &Directory{m: m, files: f, store: store, pin: store.Pin(), path: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if d.own = dir == ""; d.own {
		if d.path, err = newDirectory(store); err != nil {
			return nil, err
		}
	}
	if d.root, err = os.OpenRoot(d.path); err != nil {
		return nil, machine.Errorf("open the directory of the attempt: %w", machine.WithoutPath(err))
	}
	if d.own {
		if err := d.writeSnapshot(ctx); err != nil {
			return nil, err
		}
	}
	return d, d.restore(ctx)
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

// Path is the directory.
func (d *Directory) Path() string { return d.path }

// Hermetic reports whether the directory contains only what the module declares.
func (d *Directory) Hermetic() bool { return d.own && d.files.Narrow }

// writeSnapshot writes the files of the run, or those that the module declares as
// its inputs.
func (d *Directory) writeSnapshot(ctx context.Context) error {
	if ref := d.files.Workspace; ref != nil {
		t, err := d.fetch(ctx, *ref, d.files.Narrow, d.files.Inputs)
		if err != nil {
			return fmt.Errorf("fetch the workspace of the run: %w", err)
		}
		if err := d.write(ctx, t, ref.Time); err != nil {
			return fmt.Errorf("write the workspace of the run: %w", err)
		}
	}
	if ref := d.files.Git; ref != nil {
		t, err := d.fetch(ctx, *ref, false, nil) // its paths begin with .git
		if err == nil {
			err = d.write(ctx, t, ref.Time)
		}
		if err != nil {
			return fmt.Errorf("fetch the history of the workspace: %w", err)
		}
	}
	return nil
}

// fetch makes sure that the machine has the contents of a tree, or of what globs
// select of it, and keeps them there until the directory is closed.
func (d *Directory) fetch(ctx context.Context, ref jobs.Tree, narrow bool, globs []string) (*tree.Tree, error) {
	t, err := transfer.Load(ctx, d.m.cfg.Remote, ref)
	if err != nil {
		return nil, err
	}
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
	_, _, err = transfer.Fetch(ctx, d.m.cfg.Remote, ref, d.store, want)
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
	return tree.Write(ctx, t, d.root, d.store, tree.WriteOptions{Time: at, Replace: d.own})
}

// Close removes the directory if it was made for the attempt, and lets the store
// evict its contents.
func (d *Directory) Close() error {
	var errs []error
	if d.root != nil {
		errs = append(errs, d.root.Close())
	}
	if d.own && d.path != "" {
		errs = append(errs, workspace.Remove(d.path))
	}
	return errors.Join(append(errs, d.pin.Release())...)
}

// Resolve returns a path below the directory, as the system writes it.
func (d *Directory) Resolve(path string) string {
	return filepath.Join(d.path, filepath.FromSlash(path))
}
