package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/modpipe/modpipe/pipeline"
)

// checkPatterns refuses patterns and directories that cannot mean anything.
func checkPatterns(w pipeline.Workspace) error {
	var errs []error
	check := func(list string, patterns []string) {
		for _, p := range patterns {
			switch {
			case strings.HasPrefix(p, "!"):
				errs = append(errs, fmt.Errorf("workspace.%s: %q begins with !; use workspace.include and workspace.exclude side by side", list, p))
			case !doublestar.ValidatePattern(p):
				errs = append(errs, fmt.Errorf("workspace.%s: %q is not a valid pattern", list, p))
			case !local(clean(p)):
				errs = append(errs, fmt.Errorf("workspace.%s: %q leads out of the workspace", list, p))
			}
		}
	}
	check("include", w.Include)
	check("exclude", w.Exclude)
	for _, d := range w.Also {
		if at := clean(d.At); !local(at) || at == "." || inGitDir(at) {
			errs = append(errs, fmt.Errorf("workspace.also: at: %q is not a directory below the workspace", d.At))
		}
		if d.Dir == "" {
			errs = append(errs, errors.New("workspace.also: dir is missing"))
		}
	}
	return errors.Join(errs...)
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

// matches reports whether a pattern matches the path, or a directory above it.
func matches(pattern, p string) bool {
	pattern = clean(pattern)
	if pattern == "." {
		return true
	}
	for i := 0; i < len(p); i++ {
		if p[i] == '/' && doublestar.MatchUnvalidated(pattern, p[:i]) {
			return true
		}
	}
	return doublestar.MatchUnvalidated(pattern, p)
}

func matchesAny(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, p) })
}

// include adds the files that workspace.include names to the first source.
func (t *taking) include(ctx context.Context) error {
	if t.rev != nil {
		return t.includeOfRev()
	}
	for _, pattern := range t.Workspace.Include {
		found, err := t.walk(ctx, clean(pattern))
		if err != nil {
			return fmt.Errorf("workspace.include %q: %w", pattern, err)
		}
		if len(found) == 0 {
			t.warn("workspace.include %q matches no file", pattern)
		}
		t.sources[0].paths = append(t.sources[0].paths, found...)
	}
	if len(t.Workspace.Include) > 0 && t.From == "outside git" {
		t.From = "workspace.include, outside git"
	}
	return nil
}

// includeOfRev reports that a commit has no further files that could be included.
func (t *taking) includeOfRev() error {
	for _, pattern := range t.Workspace.Include {
		if !slices.ContainsFunc(t.rev.paths(), func(p string) bool { return matches(pattern, p) }) {
			t.warn("workspace.include %q matches no file of the commit; --rev takes no files from the work tree", pattern)
		}
	}
	return nil
}

// walk returns the files and empty directories that pattern matches. It follows
// no links.
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
		if matches(pattern, name) {
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
