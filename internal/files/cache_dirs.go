package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// keptDir is a cache directory of an attempt.
type keptDir struct {
	jobs.CacheDir
	path string // "" = below the directory of the attempt, at Path
}

// restoreDirs makes the cache directories, each of which only this attempt has.
func (d *Directory) restoreDirs(ctx context.Context) error {
	for _, c := range d.files.CacheDirs {
		if c.Path != "" && !d.own {
			d.found.Unkept = append(d.found.Unkept, c.Name)
			continue
		}
		if err := d.restoreDir(ctx, c); err != nil {
			return fmt.Errorf("cache directory %s: %w", c.Name, err)
		}
	}
	return nil
}

func (d *Directory) restoreDir(ctx context.Context, c jobs.CacheDir) error {
	k := keptDir{CacheDir: c}
	if c.Path == "" {
		var err error
		if k.path, err = newDirectory(d.store); err != nil {
			return err
		}
		d.found.Variables = append(d.found.Variables, pipeline.KeyValue{Key: c.Env, Value: k.path})
	} else if err := d.root.MkdirAll(filepath.FromSlash(c.Path), 0o777); err != nil {
		return err
	}
	d.kept = append(d.kept, k)
	if c.Found == "" {
		return nil
	}
	err := d.fill(ctx, &k)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil || machine.Caused(err) || c.FailOnMiss:
		return fmt.Errorf("restore the content of %q: %w", c.Found, err)
	}
	// Content that is gone or damaged is a miss, after which the directory is stored.
	d.kept[len(d.kept)-1].Found = ""
	d.found.Warnings = append(d.found.Warnings, fmt.Sprintf("cache directory %s is empty: restoring the content of %q failed: %v", c.Name, c.Found, err))
	return d.empty(&k)
}

// open opens a cache directory. The attempt may have replaced it.
func (d *Directory) open(k *keptDir) (*os.Root, error) {
	if k.path != "" {
		return os.OpenRoot(k.path)
	}
	return d.root.OpenRoot(filepath.FromSlash(k.Path))
}

// fill fetches the content of a directory and writes it.
func (d *Directory) fill(ctx context.Context, k *keptDir) error {
	t, err := d.fetch(ctx, k.Tree, false, nil)
	if err != nil {
		return err
	}
	root, err := d.open(k)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // nothing is written through it any more
	return tree.Write(ctx, t, root, d.store, tree.WriteOptions{Time: k.Tree.Time, Replace: true})
}

// empty removes what a failed fill has left.
func (d *Directory) empty(k *keptDir) error {
	if k.path == "" {
		path := filepath.FromSlash(k.Path)
		return errors.Join(d.root.RemoveAll(path), d.root.MkdirAll(path, 0o777))
	}
	return errors.Join(workspace.Remove(k.path), os.Mkdir(k.path, 0o700))
}

// CollectDirs stores the cache directories of an attempt that has succeeded: those
// whose exact content was not restored. What could not be stored is a warning; a secret
// of m in one is a *mask.FoundError.
func (d *Directory) CollectDirs(ctx context.Context, m *mask.Masker) (stored []jobs.StoredDir, warnings []string, err error) {
	for i := range d.kept {
		k := &d.kept[i]
		if !k.Stored() {
			continue
		}
		t, some, fault := d.storeDir(ctx, k, m)
		if _, secret := errors.AsType[*mask.FoundError](fault); secret {
			err = errors.Join(err, fmt.Errorf("cache directory %s: %w", k.Name, fault))
		} else if fault != nil {
			warnings = append(warnings, fmt.Sprintf("cache directory %s was not stored: %v", k.Name, fault))
		}
		if some {
			stored = append(stored, jobs.StoredDir{Name: k.Name, Key: k.Key, Tree: t})
		}
	}
	return stored, warnings, err
}

// storeDir stores one directory, unless it is empty or was removed.
func (d *Directory) storeDir(ctx context.Context, k *keptDir, m *mask.Masker) (_ jobs.Tree, some bool, _ error) {
	root, err := d.open(k)
	if errors.Is(err, fs.ErrNotExist) {
		return jobs.Tree{}, false, nil
	}
	if err != nil {
		return jobs.Tree{}, false, err
	}
	defer root.Close() //nolint:errcheck // it is only read
	t, err := d.take(ctx, root, tree.TakeOptions{}, m)
	if err != nil || t.Len() == 0 {
		return jobs.Tree{}, false, err
	}
	ref, err := d.push(ctx, t)
	return ref, err == nil, err
}

// push stores a tree whose contents the machine has.
func (d *Directory) push(ctx context.Context, t *tree.Tree) (jobs.Tree, error) {
	remote, err := d.m.cfg.Remote.In(d.files.Namespace)
	if err != nil {
		return jobs.Tree{}, err
	}
	open := func(f tree.File) (io.ReadCloser, error) { return d.store.Open(ctx, f.Digest) }
	ref, _, err := transfer.Push(ctx, remote, t, open, time.Now().UTC().Truncate(time.Second))
	return ref, err
}

// removeDirs removes those that are not below the directory of the attempt.
func (d *Directory) removeDirs() error {
	var errs []error
	for _, k := range d.kept {
		if k.path != "" {
			errs = append(errs, workspace.Remove(k.path))
		}
	}
	return errors.Join(errs...)
}
