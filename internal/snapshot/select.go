package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/modpipe/modpipe/internal/tree"
)

// parse parses the patterns, and refuses directories that cannot mean anything.
func (t *taking) parse() error {
	w := t.Workspace
	var errs [2]error
	t.included, errs[0] = tree.ParsePatterns(w.Include)
	t.excluded, errs[1] = tree.ParsePatterns(w.Exclude)
	for i, list := range []string{"include", "exclude"} {
		if errs[i] != nil {
			errs[i] = fmt.Errorf("workspace.%s: %w", list, errs[i])
		}
	}
	all := errors.Join(errs[:]...)
	for _, d := range w.Also {
		if at := clean(d.At); !local(at) || at == "." || inGitDir(at) {
			all = errors.Join(all, fmt.Errorf("workspace.also: at: %q is not a directory below the workspace", d.At))
		}
		if d.Dir == "" {
			all = errors.Join(all, errors.New("workspace.also: dir is missing"))
		}
	}
	return all
}

// local reports whether a path with slashes stays inside its directory.
func local(p string) bool {
	return p != "" && !path.IsAbs(p) && p != ".." && !strings.HasPrefix(p, "../") && !strings.ContainsRune(p, 0)
}

// clean removes what has no meaning in a path or a pattern: "./a//b/" is "a/b".
func clean(p string) string {
	if p == "" {
		return ""
	}
	return path.Clean(filepath.ToSlash(p))
}

// include adds the files that workspace.include names to the first source. A
// commit has no further files that could be added.
func (t *taking) include(ctx context.Context) error {
	if len(t.Workspace.Include) > 0 && t.From == outsideGit {
		t.From = "workspace.include, outside git"
	}
	for _, pattern := range t.Workspace.Include {
		if t.rev != nil || strings.HasPrefix(pattern, "!") {
			continue
		}
		found, err := t.walk(ctx, clean(pattern))
		if err != nil {
			return fmt.Errorf("workspace.include %q: %w", pattern, err)
		}
		t.sources[0].paths = append(t.sources[0].paths, found...)
	}
	return nil
}

// unmatched warns of patterns that name nothing.
func (t *taking) unmatched() {
	more := ""
	if t.rev != nil {
		more = "; --rev takes only files of the commit"
	}
	for _, pattern := range t.included.Unmatched(t.Tree) {
		t.warn("workspace.include %q names no file of the snapshot%s", pattern, more)
	}
}

// walk returns the files and empty directories that workspace.include selects
// where pattern may match. It follows no links.
func (t *taking) walk(ctx context.Context, pattern string) ([]string, error) {
	base, _ := doublestar.SplitPattern(pattern)
	if !t.realBelow(base) {
		return nil, nil
	}
	var found []string
	err := filepath.WalkDir(filepath.Join(t.Dir, filepath.FromSlash(base)), func(full string, d fs.DirEntry, err error) error {
		if cerr := ctx.Err(); cerr != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while we walk, or the base never existed
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(t.Dir, full)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if inGitDir(name) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() && (!empty(full) || name == ".") {
			return nil
		}
		if t.included.Match(name) {
			found = append(found, name)
		}
		return t.count()
	})
	return found, err
}

// realBelow reports whether no directory on the path is a link.
func (t *taking) realBelow(p string) bool {
	at := t.Dir
	parts := strings.Split(p, "/")
	for _, part := range parts[:len(parts)-1] {
		at = filepath.Join(at, part)
		if info, err := os.Lstat(at); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

func empty(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // it was only read
	names, err := f.Readdirnames(1)
	return len(names) == 0 && err != nil
}

// also adds the directories that workspace.also names.
func (t *taking) also(ctx context.Context) error {
	for _, d := range t.Workspace.Also {
		dir := filepath.FromSlash(d.Dir)
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(t.Dir, dir)
		}
		dir, err := realDir(dir)
		if err == nil {
			err = t.second(ctx, dir, clean(d.At))
		}
		if err != nil {
			return fmt.Errorf("workspace.also: %s: %w", d.Dir, err)
		}
	}
	return nil
}

func (t *taking) second(ctx context.Context, dir, at string) error {
	where, inGit, err := locate(ctx, dir)
	switch {
	case err != nil:
		return err
	case !inGit || where.bare:
		return errors.New("it is not in a git work tree, so it is unknown which files belong to it")
	}
	src, st, err := t.repository(ctx, dir, where.prefix)
	if err != nil {
		return err
	}
	if t.rev != nil {
		t.warn("%s holds files of the work tree %s at commit %.12s: --rev chooses only the commit of the workspace", at, dir, st.commit)
	}
	src.at = at
	t.sources = append(t.sources, src)
	return nil
}
