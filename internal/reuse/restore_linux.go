package reuse

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/modpipe/modpipe/internal/tree"
)

// Restore makes a marked directory hold exactly t, which may be another tree than
// the marked one, as tree.Write would with this time. The caller guarantees that
// no process of the attempt is left. It returns the mark for the next use.
//
// ErrRefused and every other error leave a directory of unknown content, which
// the caller removes.
func (m *Mark) Restore(ctx context.Context, dir string, t *tree.Tree, from tree.Content, at time.Time) (*Mark, Stats, error) {
	r := &restorer{mark: m, want: want(t), kept: make([]bool, len(t.Files)), at: at}
	next, err := r.run(ctx, dir, from)
	if err != nil {
		return nil, r.stats, fmt.Errorf("restore the files in %s: %w", dir, err)
	}
	return next, r.stats, nil
}

// restorer restores one directory, in one goroutine.
type restorer struct {
	mark    *Mark
	want    wanted
	kept    []bool   // per file of the tree: it is there, unchanged
	touched []string // directories that changed, each before those in it
	at      time.Time
	retimed bool // the time of something that was kept has been set
	stats   Stats
}

func (r *restorer) run(ctx context.Context, dir string, from tree.Content) (*Mark, error) {
	above, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	defer above.Close() //nolint:errcheck // nothing was written to it
	name := filepath.Base(dir)
	if err := r.clean(ctx, above, name); err != nil {
		return nil, err
	}
	for _, path := range r.touched {
		mode := fs.FileMode(0o755)
		if path == "" { // the caller created it
			mode = fs.FileMode(r.mark.dirs[""].mode).Perm()
		}
		if err := rebuild(above, filepath.Join(name, path), mode); err != nil {
			return nil, err
		}
	}
	r.stats.Rebuilt = len(r.touched)
	root, err := above.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // nothing was written to it
	if err := r.write(ctx, root, from); err != nil {
		return nil, err
	}
	if r.stats == (Stats{Kept: r.want.tree.Len()}) && !r.retimed {
		return r.mark, nil // it was the same tree, and nothing had changed
	}
	return take(ctx, dir, root, r.want)
}

// write writes what is missing, and sets the times of what stayed.
func (r *restorer) write(ctx context.Context, root *os.Root, from tree.Content) error {
	missing := &tree.Tree{}
	for i, f := range r.want.tree.Files {
		if r.kept[i] {
			r.stats.Kept++
			continue
		}
		missing.Files = append(missing.Files, f)
	}
	r.stats.Written = missing.Len()
	if err := tree.Write(ctx, missing, root, from, tree.WriteOptions{Time: r.at}); err != nil {
		return err
	}
	if r.at.IsZero() {
		return nil
	}
	return r.setTimes(root)
}

// setTimes gives the time of the tree to the files and directories that have
// another one.
func (r *restorer) setTimes(root *os.Root) error {
	set := func(path string) error {
		r.retimed = true
		return root.Chtimes(path, r.at, r.at)
	}
	for i, f := range r.want.tree.Files {
		if r.kept[i] && f.HasContent() && r.marked(f.Path).mtime != r.at.UnixNano() {
			if err := set(f.Path); err != nil {
				return err
			}
		}
	}
	for path := range r.want.dirs {
		if path == "" {
			continue
		}
		info, err := root.Lstat(path)
		if err == nil && !info.ModTime().Equal(r.at) {
			err = set(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// marked is the stamp of an entry that was kept.
func (r *restorer) marked(path string) stamp {
	i, ok := r.mark.want.find(path)
	if !ok {
		return stamp{}
	}
	return r.mark.files[i]
}

// clean removes everything that is not of the tree, or has changed, and notes
// which directories changed.
func (r *restorer) clean(ctx context.Context, above *os.Root, name string) error {
	s, err := lstat(above, name)
	if err != nil {
		return err
	}
	if !s.is(unix.S_IFDIR) {
		return refuse("it is not a directory any more")
	}
	if was := r.mark.dirs[""]; s.mount || s.device != was.device || s.inode != was.inode {
		return refuse("another directory is in its place")
	}
	return r.directory(ctx, above, name, "", s)
}

func lstat(dir *os.Root, name string) (stamp, error) {
	d, err := dir.Open(".")
	if err != nil {
		return stamp{}, err
	}
	defer d.Close() //nolint:errcheck // it was only read
	return statAt(int(d.Fd()), name)
}

// deepest bounds the directories that are open at a time.
const deepest = 256

// directory cleans one directory of the tree.
func (r *restorer) directory(ctx context.Context, above *os.Root, name, path string, s stamp) error {
	if r.mark.dirs[path] != s {
		r.touched = append(r.touched, path)
	}
	return r.inside(ctx, above, name, s, 0, func(root *os.Root, name string, s stamp) error {
		return r.entry(ctx, root, name, under(path, name), s)
	})
}

// inside opens a directory and calls f for every entry.
func (r *restorer) inside(ctx context.Context, above *os.Root, name string, s stamp, depth int, f func(*os.Root, string, stamp) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if depth > deepest {
		return refuse("directories are nested more than %d deep", deepest)
	}
	if s.mode&0o700 != 0o700 {
		if err := above.Chmod(name, 0o700); err != nil {
			return err
		}
	}
	root, err := above.OpenRoot(name)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // it was only read
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // it was only read
	return names(d, func(name string) error {
		s, err := statAt(int(d.Fd()), name)
		if err != nil {
			return err
		}
		if s.mount {
			return refuse("something is mounted on %s; unmount it", name)
		}
		return f(root, name, s)
	})
}

// entry keeps an entry of a directory of the tree, or removes it.
func (r *restorer) entry(ctx context.Context, dir *os.Root, name, path string, s stamp) error {
	i, listed := r.want.find(path)
	if r.want.dirs[path] && s.is(unix.S_IFDIR) {
		if listed {
			r.kept[i] = true
		}
		return r.directory(ctx, dir, name, path, s)
	}
	if listed && r.same(i, s) {
		r.kept[i] = true
		return nil
	}
	return r.remove(ctx, dir, name, s, 0)
}

// same reports whether an entry is the one that was marked, and whether the tree
// has the same there.
func (r *restorer) same(i int, s stamp) bool {
	now := &r.want.tree.Files[i]
	j, ok := r.mark.want.find(now.Path)
	if !ok || r.mark.files[j] != s {
		return false
	}
	was := &r.mark.want.tree.Files[j]
	return was.Kind == now.Kind && was.Digest == now.Digest && was.Size == now.Size && was.Target == now.Target && s.holds(now)
}

// remove removes an entry with everything in it. It enters no mount.
func (r *restorer) remove(ctx context.Context, dir *os.Root, name string, s stamp, depth int) error {
	if s.is(unix.S_IFDIR) {
		err := r.inside(ctx, dir, name, s, depth, func(root *os.Root, name string, s stamp) error {
			return r.remove(ctx, root, name, s, depth+1)
		})
		if err != nil {
			return err
		}
	}
	r.stats.Removed++
	return dir.Remove(name)
}

// rebuild replaces a directory by a new one with the same entries. So it loses
// what an attempt may have attached to it: attributes, access control lists,
// flags, an owner.
func rebuild(above *os.Root, path string, mode fs.FileMode) error {
	parent, err := above.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer parent.Close() //nolint:errcheck // it is not written through this descriptor
	name, fresh := filepath.Base(path), ".restored-"+rand.Text()
	if err := parent.Mkdir(fresh, 0o700); err != nil {
		return err
	}
	if err := move(parent, name, fresh); err != nil {
		return err
	}
	if err := errors.Join(parent.Remove(name), parent.Chmod(fresh, mode)); err != nil {
		return err
	}
	return parent.Rename(fresh, name)
}

func move(parent *os.Root, from, to string) error {
	d, err := parent.Open(from)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // it was only read
	if err := names(d, func(name string) error {
		return parent.Rename(filepath.Join(from, name), filepath.Join(to, name))
	}); err != nil {
		return err
	}
	return nil
}
