package checkout

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/modpipe/modpipe/internal/filestore"
	"github.com/modpipe/modpipe/internal/snapshot"
	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
)

// noLimit is more bytes than any workspace has.
const noLimit = 1 << 60

// sync makes the workspace hold a snapshot. The caller holds the lock.
func (c *Checkout) sync(ctx context.Context, ref jobs.Tree) error {
	store, err := c.cfg.Store(ctx)
	if err != nil {
		return err
	}
	want, err := transfer.Load(ctx, c.cfg.Remote, ref)
	if err != nil {
		return err
	}
	have, err := snapshot.Take(ctx, snapshot.Options{Dir: c.cfg.Dir, MaxBytes: noLimit, IndexDir: indexDir(store)})
	if err != nil {
		return err
	}
	defer have.Close() //nolint:errcheck // it has no temporary files
	missing := lacking(have.Tree, want)
	if len(missing) == 0 && len(lacking(want, have.Tree)) == 0 {
		return c.shared.lock.note(ref.Root)
	}
	there, err := c.ignored(ctx, missing)
	if err != nil {
		return err
	}
	if err := c.mayChange(have, there, missing); err != nil {
		return err
	}
	if err := c.shared.lock.note(""); err != nil {
		return err
	}
	missing = lacking(there, &tree.Tree{Files: missing})
	if err := c.change(ctx, store, ref, have.Tree, want, missing); err != nil {
		return err
	}
	return c.shared.lock.note(ref.Root)
}

// ignored takes what is at paths of the snapshot and not in a snapshot of the
// workspace: files that git ignores.
func (c *Checkout) ignored(ctx context.Context, missing []tree.File) (*tree.Tree, error) {
	root, err := os.OpenRoot(c.cfg.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // it was only read
	return tree.Take(ctx, root, tree.TakeOptions{Paths: func(yield func(string, error) bool) {
		for i := range missing {
			if missing[i].Kind != tree.Directory && !yield(missing[i].Path, nil) {
				return
			}
		}
	}})
}

// mayChange refuses the first sync where it would lose what only this directory has.
func (c *Checkout) mayChange(have *snapshot.Result, there *tree.Tree, missing []tree.File) error {
	if _, synced, err := c.shared.lock.synced(); err != nil || synced {
		return err
	}
	if have.Dirty && have.Files() > 0 { // after `git init` alone, there is nothing to lose
		return errors.New("the directory has changes that are not committed (`git status` shows them), and a sync would lose them: " +
			"commit, stash or remove them once; later syncs overwrite everything that git does not ignore")
	}
	for _, f := range missing {
		is, ok := there.Find(f.Path)
		if _, tracked := have.Tree.Find(f.Path); ok && !tracked && is != f {
			return fmt.Errorf("git ignores the file %s, and the snapshot has another one there: move it away once; later syncs overwrite it", f.Path)
		}
	}
	return nil
}

// change removes what the snapshot lacks, and writes what the workspace lacks.
func (c *Checkout) change(ctx context.Context, store *filestore.Store, ref jobs.Tree, have, want *tree.Tree, missing []tree.File) error {
	pin := store.Pin()
	defer pin.Release() //nolint:errcheck // it ends with the process
	wanted := map[string]bool{}
	var digests []tree.Digest
	for _, f := range missing {
		if wanted[f.Path] = true; f.HasContent() {
			digests = append(digests, f.Digest)
		}
	}
	if err := pin.Add(ctx, digests...); err != nil {
		return err
	}
	if _, _, err := transfer.Fetch(ctx, c.cfg.Remote, ref, store, func(f tree.File) bool { return wanted[f.Path] }); err != nil {
		return err
	}
	root, err := os.OpenRoot(c.cfg.Dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // what was written is checked
	if err := remove(root, have, want); err != nil {
		return err
	}
	return tree.Write(ctx, &tree.Tree{Files: missing}, root, store, tree.WriteOptions{Time: ref.Time, Replace: true})
}

// remove removes the files that the snapshot lacks, and directories that are empty
// then.
func remove(root *os.Root, have, want *tree.Tree) error {
	emptied := map[string]bool{}
	for _, f := range have.Files {
		if _, ok := want.Find(f.Path); ok || f.Kind == tree.Directory {
			continue
		}
		if err := root.Remove(filepath.FromSlash(f.Path)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove %s, which the snapshot lacks: %w", f.Path, err)
		}
		for dir := path.Dir(f.Path); dir != "."; dir = path.Dir(dir) {
			emptied[dir] = true
		}
	}
	dirs := make([]string, 0, len(emptied))
	for dir := range emptied {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	for _, dir := range slices.Backward(dirs) {
		_ = root.Remove(filepath.FromSlash(dir)) // fails where something is left in it
	}
	return nil
}
