package tree

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Keeper keeps the content of files in a store while Take reads them. It is used
// by several goroutines.
type Keeper interface {
	// Has reports whether the content is in the store. Take asks before it trusts
	// the index; without it, the file is read again.
	Has(d Digest) bool
	// Add reads the content to its end, keeps it, and returns its digest and its
	// length in bytes. The reader is an *os.File, at its beginning. What it returned may be
	// garbage, a file that was written to at the same time; Take then adds the file again.
	Add(ctx context.Context, content io.Reader) (Digest, int64, error)
}

// TakeOptions says which files Take takes, and what helps it. The zero value
// takes everything.
type TakeOptions struct {
	// Patterns are globs as for Select. Nil takes everything. Directories in which
	// nothing can match are not read.
	Patterns []string

	// Paths lists the paths to take, from `git ls-files` for example; nil walks the
	// directory. A path that does not exist, or is below a link, is left out. A
	// directory stands for everything below it. An error ends Take.
	Paths iter.Seq2[string, error]

	// Skip reports whether to leave out a path, or a directory with everything
	// below it. It is called by one goroutine. Nil skips nothing.
	Skip func(path string, dir bool) bool

	// Found is told each file and link that Take is about to take, with the size of
	// its content in bytes, by one goroutine. If it returns false, Take leaves it out
	// and does not read it. Nil takes all of them.
	Found func(path string, size int64) bool

	// SkipGit leaves out everything called .git.
	SkipGit bool

	Index *Index // nil reads every file
	Keep  Keeper // nil only hashes

	// Parallel is how many files are read at a time. The default is twice the
	// number of CPUs that Go uses.
	Parallel int

	system *system // of a test
}

// Take returns the tree of a directory. Of the mode of a file only the owner's
// executable bit counts. Directories are taken only if they are empty.
//
// An error names the path: a link or a name that CheckPath or New refuses; a
// device, a socket or a FIFO; a file that cannot be read, or that changed each of
// the three times it was read. A file that disappears during Take is left out.
// Memory is bounded by about 400 bytes an entry, 250 more with an index, and 100 KB
// a file that is being read.
func Take(ctx context.Context, root *os.Root, opts TakeOptions) (*Tree, error) {
	t := &taker{opts: opts, system: cmp.Or(opts.system, &machine)}
	if opts.Patterns != nil {
		p, err := ParsePatterns(opts.Patterns)
		if err != nil {
			return nil, err
		}
		t.patterns = &p
	}
	var group *errgroup.Group
	group, ctx = errgroup.WithContext(ctx)
	group.SetLimit(parallel(opts.Parallel) + 1)
	t.group = group
	group.Go(func() error {
		if opts.Paths != nil {
			return t.list(ctx, top(root))
		}
		return t.walk(ctx, top(root))
	})
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("take files: %w", err)
	}
	slices.SortStableFunc(t.files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	t.files = slices.CompactFunc(t.files, func(a, b File) bool { return a.Path == b.Path })
	tree, err := New(slices.Clip(t.files))
	if err != nil {
		return nil, fmt.Errorf("take files: %w", err)
	}
	return tree, nil
}

func parallel(n int) int { return cmp.Or(max(n, 0), 2*runtime.GOMAXPROCS(0)) }

// taker takes one tree. One goroutine walks; those of the group read files.
type taker struct {
	opts     TakeOptions
	system   *system
	patterns *Patterns // nil: everything
	group    *errgroup.Group

	mu    sync.Mutex // guards files
	files []File
}

func (t *taker) add(f File) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.files = append(t.files, f)
}

func (t *taker) selects(path string) bool { return t.patterns == nil || t.patterns.Match(path) }

// reaches reports whether something at a path or below it may be selected.
func (t *taker) reaches(path string) bool { return t.selects(path) || t.patterns.below(path) }

func (t *taker) skips(path, name string, dir bool) bool {
	return t.opts.SkipGit && name == ".git" || t.opts.Skip != nil && t.opts.Skip(path, dir)
}

// walk takes a directory, and gives it back.
func (t *taker) walk(ctx context.Context, dir *place) (err error) {
	defer func() { err = errors.Join(err, dir.release()) }()
	names, err := readNames(dir)
	if err != nil {
		return fmt.Errorf("read directory %s: %w", quote(cmp.Or(dir.path, ".")), reason(err))
	}
	if len(names) == 0 && dir.path != "" && t.selects(dir.path) {
		t.add(File{Path: dir.path, Kind: Directory})
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := t.visit(ctx, dir, name); err != nil {
			return err
		}
	}
	return nil
}

// readNames returns the names in a directory. (ReadDir of an os.Root asks for the
// state of each file, also of those that are not selected.)
func readNames(dir *place) ([]string, error) {
	f, err := dir.root.Open(".")
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}

// visit takes what a walk finds in a directory, at the cost of one stat.
func (t *taker) visit(ctx context.Context, dir *place, name string) error {
	path := under(dir.path, name)
	if t.opts.SkipGit && name == ".git" || !t.reaches(path) {
		return nil
	}
	info, err := t.stat(dir, name, path)
	if info == nil || t.skips(path, name, info.IsDir()) {
		return err
	}
	if info.IsDir() {
		return t.descend(ctx, dir, name, path)
	}
	return t.entry(ctx, dir, name, path, info)
}

// stat returns nil for what does not exist.
func (t *taker) stat(dir *place, name, path string) (fs.FileInfo, error) {
	info, err := t.system.lstat(dir.root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", quote(path), reason(err))
	}
	return info, nil
}

// descend walks a directory in another.
func (t *taker) descend(ctx context.Context, dir *place, name, path string) error {
	if err := CheckPath(path); err != nil {
		return err
	}
	child, err := dir.enter(name, nothing)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read directory %s: %w", quote(path), reason(err))
	}
	return t.walk(ctx, child)
}

func nothing(*os.Root) error { return nil }

// entry takes what is not a directory, if it is selected. A file is left to the
// index or to a reader.
func (t *taker) entry(ctx context.Context, dir *place, name, path string, info fs.FileInfo) error {
	if !t.selects(path) {
		return nil
	}
	if err := CheckPath(path); err != nil {
		return err
	}
	switch mode := info.Mode(); {
	case t.opts.Found != nil && !t.opts.Found(path, sizeOf(info)):
		return nil
	case mode.IsRegular():
		t.file(ctx, dir, name, path, info)
		return nil
	case mode&fs.ModeSymlink != 0:
		return t.link(dir, name, path)
	}
	return fmt.Errorf("%s is refused: it is a %s; remove it, or exclude it", quote(path), what(info.Mode()))
}

func sizeOf(info fs.FileInfo) int64 {
	if info.Mode().IsRegular() {
		return info.Size()
	}
	return 0
}

func (t *taker) link(dir *place, name, path string) error {
	target, err := dir.root.Readlink(name)
	if err != nil {
		return fmt.Errorf("read link %s: %w", quote(path), reason(err))
	}
	f := File{Path: path, Kind: Link, Target: filepath.ToSlash(target)}
	if err := f.check(); err != nil {
		return err
	}
	t.add(f)
	return nil
}

// list takes the paths of the list. Most lists are sorted, or nearly.
func (t *taker) list(ctx context.Context, root *place) (err error) {
	open := chain{root}
	defer func() { err = errors.Join(err, open.leave(""), root.release()) }()
	for path, err := range t.opts.Paths {
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		path, dir := strings.CutSuffix(path, "/")
		if err := CheckPath(path); err != nil {
			return err
		}
		if err := open.leave(path); err != nil {
			return err
		}
		if err := t.listed(ctx, &open, path, dir); err != nil {
			return err
		}
	}
	return nil
}

// listed takes one path of the list, which a slash followed if dir.
func (t *taker) listed(ctx context.Context, open *chain, path string, dir bool) error {
	for {
		in := open.last()
		name, more := open.next(path)
		at := under(in.path, name)
		if t.skips(at, name, more || dir) || !t.reaches(at) {
			return nil
		}
		info, err := t.stat(in, name, at)
		switch {
		case info == nil:
			return err
		case !more && info.IsDir():
			return t.descend(ctx, in, name, path)
		case !more:
			return t.entry(ctx, in, name, path, info)
		case !info.IsDir():
			return nil
		}
		child, err := in.enter(name, nothing)
		if err != nil {
			return fmt.Errorf("read directory %s: %w", quote(at), reason(err))
		}
		*open = append(*open, child)
	}
}
