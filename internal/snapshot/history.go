package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/pipeline"
)

// history adds a .git for tools that ask git for the version.
//
// It is written from scratch, and not copied: a configuration, HEAD, the tags, an
// index, and packs. So it contains no hooks, no credentials, no alternates and no
// object that its commit or a tag does not need. Its remote origin is the user's
// without a password.
//
// Equal commits give equal files, on every machine with the same version of git,
// so that a store receives them once:
//
//   - With git: true, the objects of the commit, in the order of their paths, are
//     cut into packs where the digest of an object decides, about 128 objects each.
//     A commit that changes one file changes the packs of that file, of the trees
//     above it and of the commit. The packs hold no deltas.
//   - With git: full, the line of first parents is cut where the digest of a commit
//     decides, about every 128 commits. A pack holds what its stretch of the line
//     adds, with deltas among themselves. A new commit changes the last pack only.
//
// git computes these packs without what the user's packs happen to contain
// already, which would differ from clone to clone. That costs time, once: packs are
// kept beside the indexes.
//
// The index describes the commit, without times of files, so the first `git
// status` reads every file. Files that rules leave out are marked as outside a
// sparse checkout.
func (t *taking) history(ctx context.Context, where place, inGit bool) error {
	switch {
	case !inGit:
		return fmt.Errorf("workspace.git: %s is not in a git repository", t.Dir)
	case t.Commit == "":
		t.warn("the repository has no commit yet, so the snapshot has no .git")
		return nil
	}
	if where.prefix != "" {
		t.warn("the workspace is not the top of its git work tree: in the snapshot, `git status` shows its files as untracked")
	}
	dir, err := os.MkdirTemp(t.Temporary, "modpipe-git-")
	if err != nil {
		return err
	}
	t.Result.git = dir
	h := &history{t: t, dir: filepath.Join(dir, ".git"), full: t.Workspace.Git == pipeline.FullHistory, below: where.prefix != ""}
	if err := h.build(ctx); err != nil {
		return fmt.Errorf("workspace.git: %w", err)
	}
	return t.takeGit(ctx, dir)
}

func (t *taking) takeGit(ctx context.Context, dir string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	t.Git, err = tree.Take(ctx, root, tree.TakeOptions{Keep: t.Keep})
	return err
}

// history builds a .git.
type history struct {
	t     *taking
	dir   string // the .git that is built
	full  bool
	below bool // the workspace is below the top of the work tree
}

func (h *history) build(ctx context.Context) error {
	for _, d := range []string{"refs", filepath.Join("objects", "pack"), "info"} {
		if err := os.MkdirAll(filepath.Join(h.dir, d), 0o755); err != nil {
			return err
		}
	}
	tags, err := h.tags(ctx)
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error { return h.config(ctx) },
		func() error { return h.refs(ctx, tags) },
		func() error { return h.shallow(ctx) },
		func() error { return h.objects(ctx, tags) },
		func() error { return h.index(ctx) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (h *history) write(name, content string) error {
	return os.WriteFile(filepath.Join(h.dir, name), []byte(content), 0o644)
}

// config writes the settings that decide how files are compared, and the origin.
func (h *history) config(ctx context.Context) error {
	format, err := run(ctx, h.t.Dir, "rev-parse", "--show-object-format")
	if err != nil {
		return err
	}
	version, extension := 0, ""
	if format != "sha1" {
		version, extension = 1, "[extensions]\n\tobjectFormat = "+format+"\n"
	}
	core, remote := "", ""
	err = list(ctx, h.t.Dir, nil, func(entry string) error {
		key, value, _ := strings.Cut(entry, "\n")
		switch {
		case key == "remote.origin.url":
			if value = harmless(value); value != "" {
				remote = fmt.Sprintf("[remote \"origin\"]\n\turl = %s\n", configured(value))
			}
		case slices.Contains([]string{"true", "false", "input", "lf", "crlf", "native"}, strings.ToLower(value)):
			core += fmt.Sprintf("\t%s = %s\n", strings.TrimPrefix(key, "core."), value)
		}
		return nil
	}, "config", "-z", "--get-regexp", `^(core\.(autocrlf|eol)|remote\.origin\.url)$`)
	if _, failed := errors.AsType[*gitError](err); err != nil && !failed { // git fails without any
		return err
	}
	return h.write("config", fmt.Sprintf("[core]\n\trepositoryformatversion = %d\n\tfilemode = true\n\tbare = false\n%s%s%s", version, core, extension, remote))
}

// harmless returns the URL of a remote without a password, and "" for a place on
// this machine.
func harmless(remote string) string {
	if normalise(remote) == "" {
		return ""
	}
	if !strings.Contains(remote, "://") {
		return remote // user@host:path holds no password
	}
	u, err := url.Parse(remote)
	if err != nil {
		return ""
	}
	user := u.User.Username()
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	if u.Scheme == "ssh" && user != "" {
		u.User = url.User(user)
	}
	return u.String()
}

// configured quotes a value for a file of git's configuration.
func configured(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// tag is a tag of the snapshot.
type tag struct{ ref, oid, peeled string }

// tags returns all tags for the full history, otherwise those of the commit.
func (h *history) tags(ctx context.Context) ([]tag, error) {
	args := []string{"for-each-ref", "--format=%(objectname) %(refname) %(*objectname)"}
	if !h.full {
		args = append(args, "--points-at="+h.t.Commit)
	}
	out, err := run(ctx, h.t.Dir, append(args, "refs/tags")...)
	if err != nil {
		return nil, err
	}
	var tags []tag
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			return nil, fmt.Errorf("git for-each-ref in %s: unexpected line %.80q", h.t.Dir, line)
		}
		tags = append(tags, tag{ref: fields[1], oid: fields[0], peeled: strings.Join(fields[2:], "")})
	}
	return tags, nil
}

// refs writes HEAD, the branch that it names, and the tags.
func (h *history) refs(ctx context.Context, tags []tag) error {
	head, all := h.t.Commit, tags
	if h.t.Rev == "" {
		branch, err := run(ctx, h.t.Dir, "symbolic-ref", "--quiet", "HEAD")
		if _, detached := errors.AsType[*gitError](err); err != nil && !detached {
			return err
		}
		if err == nil && branch != "" {
			head, all = "ref: "+branch, append(slices.Clone(tags), tag{ref: branch, oid: h.t.Commit})
		}
	}
	slices.SortFunc(all, func(a, b tag) int { return cmp.Compare(a.ref, b.ref) })
	var packed strings.Builder
	packed.WriteString("# pack-refs with: peeled fully-peeled sorted \n")
	for _, r := range all {
		packed.WriteString(r.oid + " " + r.ref + "\n")
		if r.peeled != "" {
			packed.WriteString("^" + r.peeled + "\n")
		}
	}
	return errors.Join(h.write("HEAD", head+"\n"), h.write("packed-refs", packed.String()))
}

// shallow writes where the history ends.
func (h *history) shallow(ctx context.Context) error {
	if !h.full {
		return h.write("shallow", h.t.Commit+"\n")
	}
	name, err := run(ctx, h.t.Dir, "rev-parse", "--path-format=absolute", "--git-path", "shallow")
	if err != nil {
		return err
	}
	ends, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		h.t.warn("this clone is shallow, so the snapshot does not have the full history; run: git fetch --unshallow")
		err = h.write("shallow", string(ends))
	}
	return err
}

// index writes git's index of the commit.
func (h *history) index(ctx context.Context) error {
	own := []string{
		"--git-dir=.git", "--work-tree=.", "-c", "index.threads=1", "-c", "index.version=2", "-c", "core.splitIndex=false",
		"-c", "feature.manyFiles=false", "-c", "core.untrackedCache=false", "-c", "core.sparseCheckout=false",
	}
	dir := filepath.Dir(h.dir)
	if _, err := run(ctx, dir, append(own, "read-tree", h.t.Commit)...); err != nil {
		return err
	}
	left, err := h.left(ctx, dir, own)
	if err != nil || len(left) == 0 {
		return err
	}
	return list(ctx, dir, strings.NewReader(strings.Join(left, "\x00")+"\x00"), func(string) error { return nil },
		append(own, "update-index", "-z", "--skip-worktree", "--stdin")...)
}

// left returns the files of the commit that rules keep out of the snapshot, and
// those that are not checked out.
func (h *history) left(ctx context.Context, dir string, own []string) ([]string, error) {
	var all, left []string
	err := list(ctx, dir, nil, func(p string) error {
		all = append(all, p)
		return nil
	}, append(own, "ls-files", "-z")...)
	if err != nil || h.below {
		return all, err
	}
	ignored, err := h.t.ignoredOf(ctx, all)
	for _, p := range all {
		if _, sparse := slices.BinarySearch(h.t.sparse, p); sparse || ignored[p] || h.t.excluded.Match(p) {
			left = append(left, p)
		}
	}
	return left, err
}
