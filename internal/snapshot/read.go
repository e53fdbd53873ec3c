package snapshot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/modpipe/modpipe/internal/tree"
)

// read makes the tree of the listed paths: those that exist, without what
// exclude and .modpipeignore remove.
func (t *taking) read(ctx context.Context, ignored map[string]bool) error {
	var all tally
	if t.rev != nil {
		if err := t.readRev(ctx, ignored, &all); err != nil {
			return err
		}
	}
	for i := range t.sources {
		s := &t.sources[i]
		slices.Sort(s.paths)
		s.paths = slices.DeleteFunc(slices.Compact(s.paths), func(p string) bool {
			final := path.Join(s.at, p)
			return inGitDir(final) || ignored[final] || matchesAny(t.Workspace.Exclude, final)
		})
		if err := t.apart(s); err != nil {
			return err
		}
		infos, err := stat(ctx, s)
		if err != nil {
			return err
		}
		for j, p := range s.paths {
			all.add(path.Join(s.at, p), content(infos[j]))
		}
		if err := all.check(t.MaxBytes, t.MaxFiles); err != nil {
			return err
		}
		files, err := digestAll(ctx, s, infos)
		if err != nil {
			return err
		}
		t.Tree.Files = append(t.Tree.Files, files...)
	}
	slices.SortFunc(t.Tree.Files, func(a, b tree.File) int { return strings.Compare(a.Path, b.Path) })
	t.Bytes = all.bytes
	return nil
}

// apart refuses a second repository where the workspace has files already.
func (t *taking) apart(s *source) error {
	if s.at == "" {
		return nil
	}
	taken := func(f tree.File) bool {
		return f.Path == s.at || strings.HasPrefix(f.Path, s.at+"/") || strings.HasPrefix(s.at, f.Path+"/")
	}
	if i := slices.IndexFunc(t.Tree.Files, taken); i >= 0 {
		return fmt.Errorf("workspace.also: at: %s: the snapshot already contains %s; choose another name", s.at, t.Tree.Files[i].Path)
	}
	return nil
}

func content(info fs.FileInfo) int64 {
	if info.Mode().IsRegular() {
		return info.Size()
	}
	return 0
}

// stat finds the paths of s that exist, and drops the others.
func stat(ctx context.Context, s *source) ([]fs.FileInfo, error) {
	dirs := map[string]bool{".": true}
	var infos []fs.FileInfo
	var found []string
	for _, p := range s.paths {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !utf8.ValidString(p) {
			return nil, fmt.Errorf("the name %q is not UTF-8: rename the file, or exclude it", p)
		}
		if !real(s.dir, path.Dir(p), dirs) {
			continue // git has a file where the work tree has a link to a directory
		}
		info, err := os.Lstat(filepath.Join(s.dir, filepath.FromSlash(p)))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted
		}
		if err != nil {
			return nil, err
		}
		infos, found = append(infos, info), append(found, p)
	}
	s.paths = found
	return infos, nil
}

// real reports whether dir below root is a directory and on no link. It remembers
// its answers in known.
func real(root, dir string, known map[string]bool) bool {
	if is, ok := known[dir]; ok {
		return is
	}
	is := real(root, path.Dir(dir), known)
	if is {
		info, err := os.Lstat(filepath.Join(root, filepath.FromSlash(dir)))
		is = err == nil && info.IsDir()
	}
	known[dir] = is
	return is
}

func digestAll(ctx context.Context, s *source, infos []fs.FileInfo) ([]tree.File, error) {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // it was only read
	files := make([]tree.File, len(infos))
	var errs []error
	for i, info := range infos {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		files[i], err = digest(root, s.paths[i], info)
		files[i].Path = path.Join(s.at, s.paths[i])
		if err != nil {
			errs = append(errs, err)
		}
		if len(errs) == 10 {
			break
		}
	}
	return files, errors.Join(errs...)
}

func digest(root *os.Root, p string, info fs.FileInfo) (tree.File, error) {
	f := tree.File{Path: p}
	switch mode := info.Mode(); {
	case mode.IsDir():
		f.Kind = tree.Directory
		return f, nil
	case mode&fs.ModeSymlink != 0:
		target, err := root.Readlink(filepath.FromSlash(p))
		f.Kind, f.Target = tree.Link, filepath.ToSlash(target)
		if err == nil && !inside(p, f.Target) {
			err = fmt.Errorf("the link %q leads out of the workspace, to %q: exclude it, or let it point inside", p, target)
		}
		return f, err
	case !mode.IsRegular():
		return f, fmt.Errorf("%q is not a file, a directory or a link (%s): exclude it", p, mode.Type())
	case mode&0o111 != 0:
		f.Kind = tree.Executable
	}
	r, err := root.Open(filepath.FromSlash(p))
	if err != nil {
		return f, err
	}
	defer r.Close() //nolint:errcheck // it was only read
	h := sha256.New()
	f.Size, err = io.Copy(h, r)
	h.Sum(f.Digest[:0])
	return f, err
}

// inside reports whether a link at p with this target leads to a place in the
// tree.
func inside(p, target string) bool {
	return target != "" && !path.IsAbs(target) && !filepath.IsAbs(target) && local(path.Join(path.Dir(p), target))
}
