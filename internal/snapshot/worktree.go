package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// modeLink is the mode of a submodule in git's index and trees.
const modeLink = "160000"

// workTree lists the files of the git work tree in which the workspace is.
func (t *taking) workTree(ctx context.Context, where place) error {
	top := t.Dir
	if where.prefix != "" {
		top = strings.TrimSuffix(t.Dir, filepath.FromSlash("/"+strings.TrimSuffix(where.prefix, "/")))
	}
	t.From = "git work tree " + top
	src, state, err := t.repository(ctx, t.Dir, where.prefix)
	if err != nil {
		return err
	}
	t.sources = append(t.sources, src)
	t.Commit = state.commit
	t.Dirty, err = t.differs(ctx, state)
	return err
}

// takeEarly lists the index of the workspace's repository, and takes what it names.
func (t *taking) takeEarly(ctx context.Context, l *lister) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.tracked(gctx) })
	g.Go(func() error { t.index(t.Dir); return nil })
	if err := g.Wait(); err != nil {
		return err
	}
	ignored, err := t.ignoredOf(ctx, l.paths)
	if err != nil {
		return err
	}
	src := source{dir: t.Dir, paths: l.paths}
	l.paths = nil
	src.choose(t.leave(ignored))
	part, err := t.readSource(ctx, &src)
	t.early, t.taken = part.Tree, src.paths
	return err
}

// state is what git knows about a work tree besides its files.
type state struct {
	commit  string   // "" = no commit yet
	changed []string // paths that differ from the commit or are not in it, without ignored ones
}

// repository lists what git tracks or does not ignore in dir.
func (t *taking) repository(ctx context.Context, dir, prefix string) (source, state, error) {
	tracked, others := lister{t: t, dir: dir}, lister{t: t, dir: dir}
	var st state
	g, gctx := errgroup.WithContext(ctx)
	first := t.rev == nil && dir == t.Dir && t.early == nil
	g.Go(func() error {
		if first { // while git compares the work tree with the commit
			return t.takeEarly(gctx, &tracked)
		}
		return tracked.tracked(gctx)
	})
	g.Go(func() error {
		var err error
		st, err = others.status(gctx, prefix)
		return err
	})
	if err := g.Wait(); err != nil {
		return source{}, state{}, err
	}
	src := source{dir: dir, paths: append(tracked.paths, others.paths...)}
	for range src.paths {
		if err := t.count(); err != nil {
			return source{}, state{}, err
		}
	}
	if n := len(tracked.sparse); n > 0 {
		t.warn("%s tracked files are outside the sparse checkout of %s, and are not in the snapshot", thousands(int64(n)), dir)
	}
	if first {
		t.sparse = slices.Sorted(slices.Values(tracked.sparse))
	}
	if err := t.submodules(ctx, &src, tracked.links); err != nil {
		return source{}, state{}, err
	}
	return src, st, t.nested(ctx, &src, others.nested)
}

// lister collects the paths of one repository.
type lister struct {
	t      *taking
	dir    string
	paths  []string
	links  []string // submodules
	nested []string // repositories that git does not track
	sparse []string // tracked files that are not checked out
}

// tracked lists the index.
func (l *lister) tracked(ctx context.Context) error {
	last := ""
	return list(ctx, l.dir, nil, func(line string) error {
		// "H 100644 <object> 0\tpath"
		about, name, ok := strings.Cut(line, "\t")
		tag, rest, _ := strings.Cut(about, " ")
		mode, _, _ := strings.Cut(rest, " ")
		switch {
		case !ok:
			return fmt.Errorf("git ls-files in %s: unexpected line %.80q", l.dir, line)
		case name == last: // the sides of a conflict
		case mode == modeLink:
			l.links = append(l.links, name)
		case tag == "S" && gone(l.dir, name):
			l.sparse = append(l.sparse, name)
		default:
			l.paths = append(l.paths, name)
		}
		last = name
		return l.bound()
	}, "ls-files", "-z", "--cached", "--stage", "-t")
}

func (l *lister) bound() error {
	if len(l.paths) > 4*l.t.MaxFiles+1000 {
		return l.t.tooMany()
	}
	return nil
}

func gone(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(name)))
	return errors.Is(err, os.ErrNotExist)
}

// status lists what git does not track and does not ignore, and what differs
// from the commit. One run of git serves both questions.
func (l *lister) status(ctx context.Context, prefix string) (state, error) {
	st, skip := state{}, false
	err := list(ctx, l.dir, nil, func(line string) error {
		if skip { // the old name of a renamed file
			skip = false
			return nil
		}
		if len(line) < 2 {
			return fmt.Errorf("git status in %s: unexpected line %.80q", l.dir, line)
		}
		switch kind, rest := line[0], line[2:]; kind {
		case '#':
			if oid, ok := strings.CutPrefix(rest, "branch.oid "); ok && oid != "(initial)" {
				st.commit = oid
			}
			return nil
		case '?':
			return l.other(&st, strings.TrimPrefix(rest, prefix))
		case '1', '2', 'u':
			fields := map[byte]int{'1': 8, '2': 9, 'u': 10}[kind] // the path comes last, and may contain blanks
			parts := strings.SplitN(line, " ", fields+1)
			if len(parts) <= fields {
				return fmt.Errorf("git status in %s: unexpected line %.80q", l.dir, line)
			}
			st.changed = append(st.changed, strings.TrimPrefix(parts[fields], prefix))
			skip = kind == '2'
		}
		return nil
	}, "-c", "status.showStash=false", "status", "-z", "--porcelain=v2", "--branch", "--no-ahead-behind",
		"--untracked-files=all", "--ignore-submodules=none", "--no-renames", "--", ".")
	return st, err
}

func (l *lister) other(st *state, name string) error {
	st.changed = append(st.changed, name)
	if repo, ok := strings.CutSuffix(name, "/"); ok {
		l.nested = append(l.nested, repo)
		return nil
	}
	l.paths = append(l.paths, name)
	return l.bound()
}

// submodules adds the files of the submodules of src.
func (t *taking) submodules(ctx context.Context, src *source, links []string) error {
	for _, link := range links {
		dir := filepath.Join(src.dir, filepath.FromSlash(link))
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err != nil {
			if info, err := os.Lstat(dir); err == nil && info.IsDir() && empty(dir) {
				src.paths = append(src.paths, link)
			}
			t.warn("submodule %s is not initialised, and has no files in the snapshot; run: git submodule update --init %s", link, quote(link))
			continue
		}
		if err := t.below(ctx, src, link); err != nil {
			return err
		}
	}
	return nil
}

// nested adds the files of repositories that lie in the work tree of src without
// being submodules. A command that runs in place finds these files, so a copy
// has them too. Other work trees of the same repository are left out: they hold
// the same files again.
func (t *taking) nested(ctx context.Context, src *source, repos []string) error {
	if len(repos) == 0 {
		return nil
	}
	own, err := commonDir(ctx, src.dir)
	if err != nil {
		return err
	}
	for _, repo := range repos {
		dir := filepath.Join(src.dir, filepath.FromSlash(repo))
		theirs, err := commonDir(ctx, dir)
		switch {
		case err != nil:
			return err
		case theirs == own:
			t.warn("%s is another work tree of the same repository, and is not in the snapshot", repo)
			continue
		}
		t.warn("%s is a git repository of its own and no submodule; its files are in the snapshot, unless workspace.exclude names it", repo)
		if err := t.below(ctx, src, repo); err != nil {
			return err
		}
	}
	return nil
}

func commonDir(ctx context.Context, dir string) (string, error) {
	return run(ctx, dir, "rev-parse", "--path-format=absolute", "--git-common-dir")
}

// below adds the files of the repository at src.dir/at.
func (t *taking) below(ctx context.Context, src *source, at string) error {
	inner, _, err := t.repository(ctx, filepath.Join(src.dir, filepath.FromSlash(at)), "")
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	for _, p := range inner.paths {
		src.paths = append(src.paths, path.Join(at, p))
	}
	return nil
}

// differs reports whether a file that the snapshot may contain differs from the
// commit.
func (t *taking) differs(ctx context.Context, st state) (bool, error) {
	if st.commit == "" {
		return true, nil
	}
	var left []string
	for _, p := range st.changed {
		if !t.excluded.Match(strings.TrimSuffix(p, "/")) {
			left = append(left, p)
		}
	}
	ignored, err := t.ignoredOf(ctx, left)
	return len(left) > len(ignored), err
}
