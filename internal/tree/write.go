package tree

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// Content is a store that has the content of the files of a tree. It is used by
// several goroutines.
type Content interface {
	// Place creates a file with the content that has this digest, at a path below a
	// directory, with mode less the umask. Its error wraps fs.ErrExist if something
	// is at the path. On any error it leaves what it found.
	Place(ctx context.Context, d Digest, dst *os.Root, path string, mode fs.FileMode) error
}

// WriteOptions says how Write writes a tree.
type WriteOptions struct {
	// Time is the modification time of all files and directories that Write creates.
	// Zero leaves the time at which they were written.
	Time time.Time

	// Replace removes what is at a path of the tree and is not a directory that has
	// files. Without it, something else at a path is an error, and what is there
	// with the same content and kind stays as it is.
	Replace bool

	// Index helps to find out whether what is there has the same content. Nil reads it.
	Index *Index

	// Parallel is how many files are written at a time. The default is twice the
	// number of CPUs that Go uses.
	Parallel int

	system *system // of a test
}

// Write writes a tree below a directory. It creates directories and files with the
// modes 0755 and 0644 or 0755, with any umask. Files of the directory that
// the tree does not name stay.
//
// Nothing is written outside the directory, even through links in it: Write does
// not go through a link. An error names the path: what is there already, two names
// that differ only in case where the file system holds one of them, or what the
// store or the disk refuses. What was written before the error stays.
// Memory is bounded, besides the tree, by about 100 KB a file that is being written.
func Write(ctx context.Context, t *Tree, dst *os.Root, from Content, opts WriteOptions) error {
	w := &writer{from: from, opts: opts, system: cmp.Or(opts.system, &machine)}
	if err := checkCase(t, dst, w.system); err != nil {
		return fmt.Errorf("write files: %w", err)
	}
	w.group, ctx = errgroup.WithContext(ctx)
	w.group.SetLimit(parallel(opts.Parallel) + 1)
	w.group.Go(func() error { return w.tree(ctx, t, top(dst)) })
	if err := w.group.Wait(); err != nil {
		return fmt.Errorf("write files: %w", err)
	}
	return nil
}

// writer writes one tree. One goroutine creates directories and links; those of
// the group write files.
type writer struct {
	from   Content
	opts   WriteOptions
	system *system
	group  *errgroup.Group
}

// tree writes the entries in their order.
func (w *writer) tree(ctx context.Context, t *Tree, root *place) (err error) {
	open := chain{root}
	defer func() { err = errors.Join(err, open.leave("")) }()
	for i := range t.Files {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f := &t.Files[i]
		if err := f.check(); err != nil { // of a tree that New has not seen
			return err
		}
		if err := open.leave(f.Path); err != nil {
			return err
		}
		if err := w.path(ctx, &open, f); err != nil {
			return err
		}
	}
	return nil
}

// path writes an entry and the directories on the way to it.
func (w *writer) path(ctx context.Context, open *chain, f *File) error {
	for more := true; more; {
		var name string
		name, more = open.next(f.Path)
		if err := checkName(name); err != nil {
			return fmt.Errorf("%s cannot be written here: %w", quote(f.Path), err)
		}
		if !more && f.Kind != Directory {
			return w.entry(ctx, open.last(), name, f)
		}
		child, err := w.directory(open.last(), name)
		if err != nil {
			return err
		}
		*open = append(*open, child)
	}
	return nil
}

// directory creates and opens a directory. It gets its time when everything in it
// has been written.
func (w *writer) directory(dir *place, name string) (*place, error) {
	path := under(dir.path, name)
	made, err := w.makeDirectory(dir, name)
	if err != nil {
		return nil, fmt.Errorf("create directory %s: %w", quote(path), reason(err))
	}
	child, err := dir.enter(name, func(root *os.Root) error {
		if !made || w.opts.Time.IsZero() {
			return nil
		}
		if err := root.Chtimes(".", w.opts.Time, w.opts.Time); err != nil {
			return fmt.Errorf("set the time of %s: %w", quote(path), reason(err))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open directory %s: %w", quote(path), reason(err))
	}
	return child, nil
}

// makeDirectory reports whether it created the directory; otherwise it was there.
func (w *writer) makeDirectory(dir *place, name string) (bool, error) {
	err := dir.root.Mkdir(name, 0o755)
	if errors.Is(err, fs.ErrExist) {
		info, err := dir.root.Lstat(name)
		switch {
		case err != nil:
			return false, err
		case info.IsDir():
			return false, nil
		case !w.opts.Replace:
			return false, fmt.Errorf("there is a %s already", what(info.Mode()))
		}
		if err := dir.root.Remove(name); err != nil {
			return false, err
		}
		if err := dir.root.Mkdir(name, 0o755); err != nil {
			return false, err
		}
	} else if err != nil {
		return false, err
	}
	return true, dir.root.Chmod(name, 0o755)
}

// entry writes a link, or leaves a file to a goroutine.
func (w *writer) entry(ctx context.Context, dir *place, name string, f *File) error {
	if f.Kind == Link {
		return w.link(dir, name, f)
	}
	dir.hold()
	w.group.Go(func() error {
		err := w.file(ctx, dir, name, f)
		if err != nil {
			err = fmt.Errorf("write %s: %w", quote(f.Path), reason(err))
		}
		return errors.Join(err, dir.release())
	})
	return nil
}

func (w *writer) link(dir *place, name string, f *File) error {
	target := filepath.FromSlash(f.Target)
	err := dir.root.Symlink(target, name)
	if errors.Is(err, fs.ErrExist) {
		if there, err := dir.root.Readlink(name); err == nil && there == target {
			return nil
		}
		if err = w.clear(dir, name); err == nil {
			err = dir.root.Symlink(target, name)
		}
	}
	if err != nil {
		return fmt.Errorf("create link %s: %w", quote(f.Path), reason(err))
	}
	return nil
}

// clear removes what is in the way, if the options allow it.
func (w *writer) clear(dir *place, name string) error {
	info, err := dir.root.Lstat(name)
	if err != nil {
		return err
	}
	if !w.opts.Replace {
		return fmt.Errorf("there is another %s already", what(info.Mode()))
	}
	return dir.root.Remove(name)
}
