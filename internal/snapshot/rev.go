package snapshot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/modpipe/modpipe/internal/tree"
)

const maxTarget = 4 << 10 // bytes of a link's target

// resolve returns the commit that rev names.
func resolve(ctx context.Context, dir, rev string) (string, error) {
	out, err := run(ctx, dir, "rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
	if _, refused := errors.AsType[*gitError](err); refused {
		return "", fmt.Errorf("%s is no commit of the repository in %s; if it exists elsewhere, run `git fetch` first", rev, dir)
	}
	return out, err
}

// objects are the files of a commit, and of the commits of its submodules.
type objects struct {
	entries []object
	byPath  map[string]int
	repos   []*batches
}

// object is a file of a commit.
type object struct {
	path string
	mode string
	oid  string
	size int64
	repo *batches
}

func (o *objects) paths() []string {
	all := make([]string, len(o.entries))
	for i, e := range o.entries {
		all[i] = e.path
	}
	return all
}

func (o *objects) open(p string) (io.ReadCloser, error) {
	i, ok := o.byPath[p]
	if !ok {
		return nil, os.ErrNotExist
	}
	return o.entries[i].repo.open(o.entries[i].oid)
}

func (o *objects) close() error {
	var errs []error
	for _, r := range o.repos {
		errs = append(errs, r.close())
	}
	return errors.Join(errs...)
}

// revision lists the files of the commit that Rev names.
func (t *taking) revision(ctx context.Context) error {
	commit, err := resolve(ctx, t.Dir, t.Rev)
	if err != nil {
		return fmt.Errorf("--rev: %w", err)
	}
	t.Commit, t.From = commit, fmt.Sprintf("commit %.12s of %s", commit, t.Dir)
	t.rev = &objects{byPath: map[string]int{}}
	if err := t.commitFiles(ctx, at{dir: t.Dir}, commit, ""); err != nil {
		return err
	}
	if len(t.rev.entries) == 0 {
		t.warn("commit %.12s has no files in %s", commit, t.Dir)
	}
	return nil
}

// at is where git runs for a repository, and with which options.
type at struct {
	dir     string
	options []string
}

func (a at) args(args ...string) []string { return append(slices.Clone(a.options), args...) }

// commitFiles adds the files of a commit, below a path in the snapshot.
func (t *taking) commitFiles(ctx context.Context, in at, commit, below string) error {
	repo := newBatches(ctx, in)
	t.rev.repos = append(t.rev.repos, repo)
	var links []object
	// In a directory below the top, git lists that directory only.
	err := list(ctx, in.dir, nil, func(line string) error {
		// "100644 blob <object>    1234\tpath"
		about, name, ok := strings.Cut(line, "\t")
		fields := strings.Fields(about)
		if !ok || len(fields) != 4 {
			return fmt.Errorf("git ls-tree in %s: unexpected line %.80q", in.dir, line)
		}
		e := object{path: path.Join(below, name), mode: fields[0], oid: fields[2], repo: repo}
		if e.mode == modeLink {
			links = append(links, e)
			return nil
		}
		var err error
		if e.size, err = strconv.ParseInt(fields[3], 10, 64); err != nil {
			return fmt.Errorf("git ls-tree in %s: unexpected line %.80q", in.dir, line)
		}
		t.rev.entries = append(t.rev.entries, e)
		return t.count()
	}, in.args("ls-tree", "-r", "-l", "-z", commit)...)
	if err != nil {
		return err
	}
	for _, l := range links {
		if err := t.submoduleAt(ctx, in, commit, below, l); err != nil {
			return err
		}
	}
	return nil
}

// submoduleAt adds the files of a submodule at the commit that the outer commit
// names, if this machine has it.
func (t *taking) submoduleAt(ctx context.Context, outer at, commit, below string, link object) error {
	inner := strings.TrimPrefix(strings.TrimPrefix(link.path, below), "/")
	for _, in := range submoduleDirs(ctx, outer, commit, inner) {
		if !hasRepository(in.dir) {
			continue
		}
		if _, err := run(ctx, in.dir, in.args("cat-file", "-e", link.oid+"^{commit}")...); err == nil {
			return t.commitFiles(ctx, in, link.oid, link.path)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t.warn("submodule %s: its commit %.12s is not on this machine, so the snapshot has no files of it; run: git submodule update --init %s",
		link.path, link.oid, quote(inner))
	t.rev.entries = append(t.rev.entries, object{path: link.path, mode: modeLink})
	return nil
}

// submoduleDirs returns where the repository of a submodule may be: in the work
// tree, or kept by git for the name that .gitmodules gives to its path.
func submoduleDirs(ctx context.Context, outer at, commit, inner string) []at {
	dirs := []at{{dir: filepath.Join(outer.dir, filepath.FromSlash(inner))}}
	prefix, err := run(ctx, outer.dir, outer.args("rev-parse", "--show-prefix")...)
	if err != nil {
		return dirs
	}
	common, err := run(ctx, outer.dir, outer.args("rev-parse", "--path-format=absolute", "--git-common-dir")...)
	if err != nil {
		return dirs
	}
	_ = list(ctx, outer.dir, nil, func(entry string) error { // without .gitmodules there is no name
		key, value, _ := strings.Cut(entry, "\n")
		name := strings.TrimSuffix(strings.TrimPrefix(key, "submodule."), ".path")
		if value == prefix+inner && local(name) {
			// Its configuration names a work tree, which may not exist any more.
			dirs = append(dirs, at{filepath.Join(common, "modules", filepath.FromSlash(name)), []string{"--git-dir=.", "--work-tree=."}})
		}
		return nil
	}, outer.args("config", "-z", "--blob", commit+":.gitmodules", "--get-regexp", `^submodule\..*\.path$`)...)
	return dirs
}

// hasRepository reports whether dir itself is a work tree or a git directory.
func hasRepository(dir string) bool {
	for _, name := range []string{".git", "HEAD"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// choose drops what is to be left out, and counts the rest.
func (o *objects) choose(leave func(string) bool, all *tally) {
	o.entries = slices.DeleteFunc(o.entries, func(e object) bool { return leave(e.path) })
	for i, e := range o.entries {
		o.byPath[e.path] = i
		if e.mode == modeTarget {
			e.size = 0
		}
		all.add(e.path, e.size)
	}
}

// readRev reads all contents of the commit once, to know their digests.
func (t *taking) readRev(ctx context.Context) (*tree.Tree, error) {
	var files []tree.File
	for wanted := t.rev.entries; len(wanted) > 0; { // one run of git per repository, in turn
		n := 1
		for n < len(wanted) && wanted[n].repo == wanted[0].repo {
			n++
		}
		var err error
		if files, err = t.digests(ctx, wanted[:n], files); err != nil {
			return nil, err
		}
		wanted = wanted[n:]
	}
	return tree.New(files)
}

// modeTarget is the mode of a symbolic link in git's trees.
const modeTarget = "120000"

func (t *taking) digests(ctx context.Context, entries []object, files []tree.File) ([]tree.File, error) {
	if entries[0].repo == nil { // submodules without files
		for _, e := range entries {
			files = append(files, tree.File{Path: e.path, Kind: tree.Directory})
		}
		return files, nil
	}
	err := entries[0].repo.all(ctx, entries, func(e object, r io.Reader) error {
		f, err := t.object(ctx, e, r)
		files = append(files, f)
		return err
	})
	return files, err
}

func (t *taking) object(ctx context.Context, e object, r io.Reader) (tree.File, error) {
	f := tree.File{Path: e.path}
	if e.mode == modeTarget {
		if e.size > maxTarget {
			return f, fmt.Errorf("the target of the link %q has %d bytes", e.path, e.size)
		}
		target, err := io.ReadAll(r)
		f.Kind, f.Target = tree.Link, string(target)
		return f, err
	}
	if e.mode == "100755" {
		f.Kind = tree.Executable
	}
	var err error
	if t.Keep != nil {
		f.Digest, f.Size, err = t.Keep.Add(ctx, r)
		return f, err
	}
	h := sha256.New()
	f.Size, err = io.Copy(h, r)
	h.Sum(f.Digest[:0])
	return f, err
}
