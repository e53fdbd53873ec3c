package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/pipeline"
)

// The default limits of a snapshot.
const (
	DefaultMaxBytes = 1 << 30
	DefaultMaxFiles = 200_000
)

// Options say of what a snapshot is taken.
type Options struct {
	Dir       string             // the workspace
	File      string             // the pipeline file, beside which .modpipeignore is; "" = no such file
	Workspace pipeline.Workspace // what to add and to remove
	Rev       string             // take the tree of this commit instead of the work tree's files; "" = the work tree
	MaxBytes  int64              // of all contents, without .git; 0 = DefaultMaxBytes
	MaxFiles  int                // without .git; 0 = DefaultMaxFiles, and more in proportion to a larger MaxBytes
	IndexDir  string             // where the indexes of workspaces are kept, beside the store; "" = every file is read
	Keep      tree.Keeper        // keeps the contents while they are read, also those of a commit; nil = Open reads them later
	Temporary string             // where temporary directories are created; "" = os.TempDir
}

// Result is a snapshot. Its methods are safe for concurrent use.
type Result struct {
	Tree     *tree.Tree
	Git      *tree.Tree // paths below .git/, if Workspace.Git asks for it; else nil
	Commit   string     // the commit of the workspace, in hex; "" = no commit
	Dirty    bool       // whether files differ from Commit, or are not in it; ignored files do not count
	From     string     // "git work tree /home/a/x", …
	Warnings []string   // a sentence each
	Bytes    int64      // of all contents of Tree

	sources []source
	rev     *objects // contents of a commit; nil = from the work tree
	git     string   // the temporary directory in which .git is; "" = none
}

// Files returns how many files, links and empty directories the tree contains.
func (r *Result) Files() int { return len(r.Tree.Files) }

// Close removes the temporary files of the snapshot and ends its processes.
// After it, Open fails.
func (r *Result) Close() error {
	var errs []error
	if r.rev != nil {
		errs = append(errs, r.rev.close())
	}
	if r.git != "" {
		errs = append(errs, os.RemoveAll(r.git))
	}
	return errors.Join(errs...)
}

// source is a directory of which files are taken.
type source struct {
	dir   string // absolute, without links
	at    string // where its files are in the snapshot: "" or "site"
	paths []string
}

// taking is one call of Take.
type taking struct {
	Options
	*Result
	included, excluded tree.Patterns
	tally              tally
	indexes            map[string]*tree.Index // by directory
	early              *tree.Tree             // what was taken while git still listed more
	taken              []string               // the paths that were given for early, sorted
	sparse             []string               // tracked files of the workspace that are not checked out, sorted
	walked             int                    // paths that were listed so far
}

// Take takes a snapshot. The caller closes the result.
func Take(ctx context.Context, o Options) (*Result, error) {
	dir, err := realDir(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir, o.MaxBytes = dir, cmp.Or(o.MaxBytes, DefaultMaxBytes)
	o.MaxFiles = cmp.Or(o.MaxFiles, moreFiles(o.MaxBytes))
	t := &taking{
		Options: o, Result: &Result{Tree: &tree.Tree{}}, indexes: map[string]*tree.Index{},
		tally: tally{maxBytes: o.MaxBytes, maxFiles: o.MaxFiles},
	}
	if err := t.parse(); err != nil {
		return nil, err
	}
	if err := t.take(ctx); err != nil {
		if errors.Is(err, errNoGit) {
			err = fmt.Errorf("%w: install git, or write `workspace: false` into the pipeline file to take no files", err)
		}
		return nil, errors.Join(fmt.Errorf("take the workspace %s: %w", dir, err), t.Result.Close())
	}
	slices.Sort(t.Warnings)
	t.Warnings = slices.Compact(t.Warnings)
	return t.Result, nil
}

// moreFiles returns the limit of files for a limit of bytes, so that one flag
// raises both.
func moreFiles(maxBytes int64) int {
	times := max(1, float64(maxBytes)/DefaultMaxBytes)
	return int(DefaultMaxFiles * min(times, 1000))
}

func realDir(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("workspace %s: %w (the current directory may have been removed)", dir, err)
	}
	found, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return "", fmt.Errorf("workspace: %w", err)
	}
	if info, err := os.Stat(found); err != nil || !info.IsDir() {
		return "", fmt.Errorf("workspace %s is not a directory", dir)
	}
	return found, nil
}

func (t *taking) take(ctx context.Context) error {
	where, inGit, err := locate(ctx, t.Dir)
	if t.Workspace.None {
		return t.nothing(ctx, inGit && err == nil)
	}
	if err != nil {
		return err
	}
	switch {
	case t.Rev != "" && !inGit:
		return fmt.Errorf("--rev %s: %s is not in a git repository", t.Rev, t.Dir)
	case t.Rev != "":
		err = t.revision(ctx)
	case where.bare:
		return errors.New("it is a bare git repository, which has no files: name a commit with --rev")
	case inGit:
		err = t.workTree(ctx, where)
	default:
		t.outside()
	}
	if err == nil {
		err = t.rest(ctx)
	}
	if err == nil && t.Workspace.Git != pipeline.NoHistory {
		err = t.history(ctx, where, inGit)
	}
	return err
}

// rest adds what does not come from the repository of the workspace, and reads
// the files.
func (t *taking) rest(ctx context.Context) error {
	if err := t.include(ctx); err != nil {
		return err
	}
	if err := t.also(ctx); err != nil {
		return err
	}
	ignored, err := t.ignored(ctx)
	if err != nil {
		return err
	}
	if err := t.read(ctx, ignored); err != nil {
		return err
	}
	t.unmatched()
	return nil
}

// nothing takes no files. The commit is still worth a report, if git knows it.
func (t *taking) nothing(ctx context.Context, inGit bool) error {
	t.From = "nothing (workspace: false)"
	if inGit {
		if commit, err := resolve(ctx, t.Dir, cmp.Or(t.Rev, "HEAD")); err == nil {
			t.Commit = commit
		} else if t.Rev != "" {
			return err
		}
	}
	return nil
}

const outsideGit = "outside git"

func (t *taking) outside() {
	t.sources = append(t.sources, source{dir: t.Dir})
	t.From = outsideGit
	if len(t.Workspace.Include) == 0 {
		t.warn("%s is not in a git work tree, so the run takes no files along; name them with workspace.include", t.Dir)
	}
}

func (t *taking) warn(format string, args ...any) {
	t.Warnings = append(t.Warnings, fmt.Sprintf(format, args...))
}

// count refuses a listing that is far above the limit, before it fills memory.
func (t *taking) count() error {
	if t.walked++; t.walked > 4*t.MaxFiles+1000 {
		return t.tooMany()
	}
	return nil
}

func (t *taking) tooMany() error {
	return fmt.Errorf("more than %s files would have to be looked at, and a run takes at most %s along: "+
		"ignore or exclude directories, or raise --workspace-max", thousands(4*int64(t.MaxFiles)), thousands(int64(t.MaxFiles)))
}

// inGitDir reports whether a path has a component named .git, which no snapshot
// contains. File systems may ignore case.
func inGitDir(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if strings.EqualFold(part, ".git") {
			return true
		}
	}
	return false
}
