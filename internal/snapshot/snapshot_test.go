package snapshot

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/pipeline"
)

type files = map[string]string

func TestTakenFiles(t *testing.T) {
	for name, c := range map[string]struct {
		committed files
		then      string // a shell script, after which the files of add are written
		add       files
		workspace pipeline.Workspace
		ignore    string // .modpipeignore
		want      files
		warns     string
	}{
		"tracked and not ignored": {
			committed: files{".gitignore": "*.o\n", "a": "1", "d/b": "2"},
			add:       files{"new": "3", "x.o": "4", "d/a": "changed"},
			want:      files{".gitignore": "*.o\n", "a": "1", "d/b": "2", "new": "3", "d/a": "changed"},
		},
		"tracked although ignored": {
			committed: files{"keep.o": "1"},
			add:       files{".gitignore": "*.o\n"},
			want:      files{"keep.o": "1", ".gitignore": "*.o\n"},
		},
		"deleted": {
			committed: files{"a": "1", "b": "2", "c/d": "3"},
			then:      "rm -r a c",
			want:      files{"b": "2"},
		},
		"executables and links": {
			committed: files{"run": "#!/bin/sh", "d/l": "-> ../run", "dangling": "-> nowhere"},
			want:      files{"run": "#!/bin/sh", "d/l": "-> ../run", "dangling": "-> nowhere"},
		},
		"a directory that became a link": {
			committed: files{"d/a": "1", "e/a": "2"},
			then:      "rm -r d",
			add:       files{"d": "-> e"},
			want:      files{"d": "-> e", "e/a": "2"},
		},
		"names": {
			committed: files{"with blank": "1", "new\nline": "2", "ünï": "3", "tab\tx": "4", "*?[x]": "5", "-dash": "6"},
			add:       files{"un\ntracked \"x\"": "7"},
			want:      files{"with blank": "1", "new\nline": "2", "ünï": "3", "tab\tx": "4", "*?[x]": "5", "-dash": "6", "un\ntracked \"x\"": "7"},
		},
		"include ignored files": {
			committed: files{".gitignore": "dist\n*.env\n"},
			add:       files{"dist/a/b": "1", "dist/c": "2", "p.env": "3", "q/r.env": "4", "dist/none/": ""},
			workspace: pipeline.Workspace{Include: []string{"dist", "**/r.env", "nope/**"}},
			want:      files{".gitignore": "dist\n*.env\n", "dist/a/b": "1", "dist/c": "2", "q/r.env": "4", "dist/none/": ""},
			warns:     `workspace.include "nope/**" names no file`,
		},
		"exclude wins": {
			committed: files{"a": "1", "big/x": "2", "big/y": "3", "d/big/z": "4"},
			workspace: pipeline.Workspace{Include: []string{"big/x"}, Exclude: []string{"big/"}},
			warns:     `workspace.include "big/x" names no file`,
			want:      files{"a": "1", "d/big/z": "4"},
		},
		".modpipeignore": {
			committed: files{"a": "1", "big/x": "2", "d/big/z": "4", "t.log": "5", "keep.log": "6", "e\nf.log": "7"},
			ignore:    "# rules\n/big\n*.log\n!keep.log\n",
			workspace: pipeline.Workspace{Include: []string{"big/x"}},
			warns:     `workspace.include "big/x" names no file`,
			want:      files{"a": "1", "d/big/z": "4", "keep.log": "6", ".modpipeignore": "# rules\n/big\n*.log\n!keep.log\n"},
		},
		"include takes no .git": {
			committed: files{"a": "1"},
			workspace: pipeline.Workspace{Include: []string{"**", ".git/**"}},
			want:      files{"a": "1"},
			warns:     ".git/**",
		},
		"an empty repository": {
			then: "rm -r .git; git init -q",
			add:  files{"a": "1"},
			want: files{"a": "1"},
		},
		"nothing": {
			committed: files{"a": "1"},
			workspace: pipeline.Workspace{None: true},
			want:      files{},
		},
		"a conflict": {
			committed: files{"a": "1"},
			then: `git checkout -qb other; echo 2 > a; git commit -qam 2; git checkout -q -; echo 3 > a; git commit -qam 3
				if git merge other; then exit 1; fi; rm a`,
			add:  files{"b": "solved"},
			want: files{"b": "solved"},
		},
		"a nested repository": {
			committed: files{"a": "1"},
			then: `mkdir n; cd n; echo y > .gitignore; printf 2 > x; echo 3 > y; git init -q; git add -A; git commit -qm x
				mkdir ../fresh; cd ../fresh; git init -q`,
			add:   files{"fresh/z": "4"},
			want:  files{"a": "1", "n/.gitignore": "y\n", "n/x": "2", "fresh/z": "4"},
			warns: "n is a git repository of its own",
		},
		"another work tree of the repository": {
			committed: files{"a": "1"},
			then:      "git worktree add -q wt",
			want:      files{"a": "1"},
			warns:     "wt is another work tree of the same repository",
		},
		"a sparse checkout": {
			committed: files{"a/x": "1", "b/x": "2"},
			then:      "git sparse-checkout set a",
			want:      files{"a/x": "1"},
			warns:     "1 tracked files are outside the sparse checkout",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := repository(t, c.committed)
			shell(t, dir, c.then)
			write(t, dir, c.add)
			if c.ignore != "" {
				write(t, dir, files{IgnoreFile: c.ignore})
			}
			r := take(t, Options{Dir: dir, File: filepath.Join(dir, "pipeline.yaml"), Workspace: c.workspace, Temporary: t.TempDir()})
			same(t, contents(t, r, r.Tree), c.want)
			if warns := strings.Join(r.Warnings, "\n"); (c.warns == "") != (warns == "") || !strings.Contains(warns, c.warns) {
				t.Errorf("warnings: %s; want %q", warns, c.warns)
			}
		})
	}
}

func TestSubmodulesBelongToTheSnapshot(t *testing.T) {
	inner := repository(t, files{"i": "1"})
	dir := repository(t, files{"a": "1"})
	git(t, dir, "submodule", "--quiet", "add", inner, "sub")
	git(t, dir, "submodule", "--quiet", "add", inner, "not")
	commit(t, dir)
	git(t, dir, "submodule", "--quiet", "deinit", "-f", "not")
	write(t, dir, files{"sub/untracked": "2"})
	r := take(t, Options{Dir: dir})
	got := contents(t, r, r.Tree)
	delete(got, ".gitmodules")
	same(t, got, files{"a": "1", "sub/i": "1", "sub/untracked": "2", "not/": ""})
	says(t, strings.Join(r.Warnings, "\n"), "submodule not is not initialised", "git submodule update --init not")
	if !r.Dirty {
		t.Error("an untracked file in a submodule makes the snapshot dirty")
	}

	write(t, dir, files{"a": "changed", "sub/i": "changed"})
	if err := os.RemoveAll(filepath.Join(dir, "sub")); err != nil { // only .git/modules has it
		t.Fatal(err)
	}
	r = take(t, Options{Dir: dir, Rev: "HEAD"})
	got = contents(t, r, r.Tree)
	delete(got, ".gitmodules")
	same(t, got, files{"a": "1", "sub/i": "1", "not/i": "1"})
}

func TestWorkspaceBelowTheTop(t *testing.T) {
	dir := repository(t, files{"a": "1", "in/b": "2", ".gitignore": "*.o\n"})
	write(t, dir, files{"in/c": "3", "in/x.o": "4"})
	sub := filepath.Join(dir, "in")
	r := take(t, Options{Dir: sub})
	same(t, contents(t, r, r.Tree), files{"b": "2", "c": "3"})
	same(t, r.From, "git work tree "+dir)
	r = take(t, Options{Dir: sub, Rev: "HEAD"})
	same(t, contents(t, r, r.Tree), files{"b": "2"})
}

func TestCommitAndDirty(t *testing.T) {
	dir := repository(t, files{"a": "1", ".gitignore": "*.o\n", "big/x": "1"})
	head := git(t, dir, "rev-parse", "HEAD")
	check := func(what string, dirty bool, w pipeline.Workspace) {
		t.Helper()
		r := take(t, Options{Dir: dir, Workspace: w, File: filepath.Join(dir, "p.yaml")})
		if r.Commit != head || r.Dirty != dirty {
			t.Errorf("%s: commit %s, dirty %v; want %s, %v", what, r.Commit, r.Dirty, head, dirty)
		}
	}
	check("clean", false, pipeline.Workspace{})
	write(t, dir, files{"x.o": "1"})
	check("an ignored file", false, pipeline.Workspace{Include: []string{"x.o"}})
	write(t, dir, files{"big/x": "2"})
	check("an excluded file", false, pipeline.Workspace{Exclude: []string{"big"}})
	check("a changed file", true, pipeline.Workspace{})
	git(t, dir, "checkout", "-q", ".")
	write(t, dir, files{"new": "2"})
	check("a new file", true, pipeline.Workspace{})
	write(t, dir, files{IgnoreFile: "/new\n/" + IgnoreFile})
	check("new files that are not taken", false, pipeline.Workspace{})
}

func TestOutsideGit(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, files{"a": "1", "b/c": "2"})
	r := take(t, Options{Dir: dir})
	same(t, contents(t, r, r.Tree), files{})
	says(t, strings.Join(r.Warnings, "\n"), "is not in a git work tree", "workspace.include")
	r = take(t, Options{Dir: dir, Workspace: pipeline.Workspace{Include: []string{"b/**"}}})
	same(t, contents(t, r, r.Tree), files{"b/c": "2"})
	same(t, r.From, "workspace.include, outside git")
}

func TestWithoutGit(t *testing.T) {
	in, out := repository(t, files{"a/b": "1"}), t.TempDir()
	t.Setenv("PATH", t.TempDir())
	if _, err := Take(t.Context(), Options{Dir: filepath.Join(in, "a")}); err == nil {
		t.Error("no error")
	} else {
		says(t, err.Error(), "git is not on the PATH", "install git", "workspace: false")
	}
	if _, err := Identity(t.Context(), in); err == nil || !strings.Contains(err.Error(), "--workspace-id") {
		t.Error(err)
	}
	take(t, Options{Dir: in, Workspace: pipeline.Workspace{None: true}})
	write(t, out, files{"a": "1"})
	r := take(t, Options{Dir: out, Workspace: pipeline.Workspace{Include: []string{"a"}}})
	same(t, contents(t, r, r.Tree), files{"a": "1"})
	write(t, out, files{IgnoreFile: "x"})
	_, err := Take(t.Context(), Options{Dir: out, File: filepath.Join(out, "p.yaml"), Workspace: pipeline.Workspace{Include: []string{"a"}}})
	if err == nil || !strings.Contains(err.Error(), "workspace.exclude") || strings.Contains(err.Error(), "workspace: false") {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		committed files
		o         Options
		want      []string
	}{
		"a link that leads outside": {committed: files{"d/l": "-> ../../x"}, want: []string{`"d/l" to "../../x" is refused`, "leads outside"}},
		"an absolute link":          {committed: files{"l": "-> /etc/passwd"}, want: []string{`"l" to "/etc/passwd" is refused`}},
		"an absolute link of a commit": {
			committed: files{"l": "-> /etc/passwd"}, o: Options{Rev: "HEAD"}, want: []string{`"l" to "/etc/passwd" is refused`},
		},
		"a name that is not UTF-8":             {committed: files{"a\xff": "1"}, want: []string{`a\xff`, "not UTF-8"}},
		"a name that is not UTF-8 of a commit": {committed: files{"a\xff": "1"}, o: Options{Rev: "HEAD"}, want: []string{`a\xff`, "not UTF-8"}},
		"too many bytes": {
			committed: files{"a/1": "12345", "a/b/2": "123", "c/3": "1"}, o: Options{MaxBytes: 8},
			want: []string{"9 B", "at most 8 B", "a: 8 B, 2 files", "c: 1 B, 1 file", "--workspace-max", "workspace.exclude"},
		},
		"too many files":          {committed: files{"a/1": "", "a/b/2": "", "c/3": "1"}, o: Options{MaxFiles: 2}, want: []string{"3 files", "at most 2", "a: 0 B, 2 files"}},
		"too many files at a rev": {committed: files{"a/1": "", "a/b/2": ""}, o: Options{MaxFiles: 1, Rev: "HEAD"}, want: []string{"2 files", "at most 1"}},
		"an unknown rev":          {committed: files{"a": ""}, o: Options{Rev: "nope"}, want: []string{"nope is no commit", "git fetch"}},
		"a rev that is an option": {committed: files{"a": ""}, o: Options{Rev: "--all"}, want: []string{"--all is no commit"}},
		"patterns": {
			committed: files{"a": ""},
			o:         Options{Workspace: pipeline.Workspace{Include: []string{"../x"}, Exclude: []string{"/etc"}}},
			want:      []string{`workspace.include: the glob "../x" is refused`, `workspace.exclude: the glob "/etc" is refused`},
		},
		"also without git": {
			committed: files{"a": ""}, o: Options{Workspace: pipeline.Workspace{Also: []pipeline.Directory{{Dir: os.TempDir(), At: "x"}}}},
			want: []string{"not in a git work tree"},
		},
		"also outside": {
			committed: files{"a": ""}, o: Options{Workspace: pipeline.Workspace{Also: []pipeline.Directory{{Dir: "..", At: "../x"}, {Dir: "x", At: ".git/x"}, {At: "y"}}}},
			want: []string{`at: "../x" is not`, `at: ".git/x" is not`, "dir is missing"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Dir = repository(t, c.committed)
			r, err := Take(t.Context(), c.o)
			if err == nil {
				t.Fatalf("no error: %v", r.Tree.Files)
			}
			says(t, err.Error(), c.want...)
		})
	}
}

func TestRevIsTheTreeOfTheCommit(t *testing.T) {
	committed := files{
		"a": "1", "d/run": "#!x", "l": "-> a", ".gitattributes": "d export-ignore\n*.crlf text eol=crlf\n", "x.crlf": "a\n", "gone": "2", "empty": "",
		"big/x": "3",
	}
	dir := repository(t, committed)
	git(t, dir, "tag", "v1")
	write(t, dir, files{"a": "changed", "new": "1"})
	if err := os.Remove(filepath.Join(dir, "gone")); err != nil {
		t.Fatal(err)
	}
	before := git(t, dir, "status", "--porcelain")
	delete(committed, "big/x")
	for _, where := range []string{dir, bare(t, dir)} {
		r := take(t, Options{Dir: where, Rev: "v1", Workspace: pipeline.Workspace{Exclude: []string{"big"}, Include: []string{"new"}}})
		same(t, contents(t, r, r.Tree), committed)
		if r.Dirty || r.Commit != git(t, dir, "rev-parse", "v1") {
			t.Errorf("%+v", r)
		}
		says(t, strings.Join(r.Warnings, "\n"), `"new" names no file of the snapshot; --rev`)
		says(t, r.From, "commit "+r.Commit[:12])
	}
	same(t, git(t, dir, "status", "--porcelain"), before)
}

func bare(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	git(t, dir, "clone", "-q", "--bare", dir, to)
	if _, err := Take(t.Context(), Options{Dir: to}); err == nil {
		t.Error("no error for a bare repository")
	} else {
		says(t, err.Error(), "bare", "--rev")
	}
	return to
}

func TestAlsoAddsASecondRepository(t *testing.T) {
	dir, site := repository(t, files{"a": "1"}), repository(t, files{"i": "2", "big/x": "3", ".gitignore": "*.o"})
	write(t, site, files{"j": "4", "k.o": "5"})
	w := pipeline.Workspace{Also: []pipeline.Directory{{Dir: site, At: "third/site/"}}, Exclude: []string{"third/site/big"}}
	want := files{"a": "1", "third/site/i": "2", "third/site/j": "4", "third/site/.gitignore": "*.o"}
	r := take(t, Options{Dir: dir, Workspace: w})
	same(t, contents(t, r, r.Tree), want)
	r = take(t, Options{Dir: dir, Workspace: w, Rev: "HEAD"})
	same(t, contents(t, r, r.Tree), want)
	says(t, strings.Join(r.Warnings, "\n"), "third/site", "--rev chooses only")

	same(t, contents(t, r, r.Tree), want)
	write(t, dir, files{"b": "2"})
	r = take(t, Options{Dir: dir, Workspace: pipeline.Workspace{Also: []pipeline.Directory{{Dir: ".", At: "self"}}}, Rev: "HEAD"})
	same(t, contents(t, r, r.Tree), files{"a": "1", "self/a": "1", "self/b": "2"})

	write(t, dir, files{"third": "in the way"})
	if _, err := Take(t.Context(), Options{Dir: dir, Workspace: w}); err == nil {
		t.Error("no error")
	} else {
		says(t, err.Error(), `"third" is a file in `, dir, site)
	}
}

func TestWorkTreeOfAWorkTree(t *testing.T) {
	dir, other := repository(t, files{"a": "1"}), filepath.Join(t.TempDir(), "wt")
	git(t, dir, "worktree", "add", "-q", other)
	write(t, other, files{"b": "2"})
	r := take(t, Options{Dir: other})
	same(t, contents(t, r, r.Tree), files{"a": "1", "b": "2"})
}

func TestEnvironmentOfAHookDoesNotRedirect(t *testing.T) {
	dir, other := repository(t, files{"a": "1"}), repository(t, files{"b": "1"})
	for k, v := range map[string]string{
		"GIT_DIR": filepath.Join(other, ".git"), "GIT_WORK_TREE": other, "GIT_INDEX_FILE": filepath.Join(other, ".git", "index"), "GIT_PREFIX": "x/",
		"GIT_LITERAL_PATHSPECS": "0", "GIT_TRACE": "1",
	} {
		t.Setenv(k, v)
	}
	r := take(t, Options{Dir: dir})
	same(t, contents(t, r, r.Tree), files{"a": "1"})
}

func TestSettingsOfTheUserDoNotMatter(t *testing.T) {
	dir := repository(t, files{"ä": "1", "d/b": "2"})
	write(t, dir, files{"d/new": "3", "hook": "#!/bin/sh\nexit 1\n"})
	for k, v := range map[string]string{
		"core.quotePath": "true", "status.showUntrackedFiles": "no", "core.fsmonitor": filepath.Join(dir, "hook"), "status.branch": "true",
		"core.pager": "false", "color.ui": "always", "status.short": "true", "diff.ignoreSubmodules": "all", "status.renames": "copies",
		"core.hooksPath": dir, "alias.status": "version", "submodule.recurse": "true", "status.relativePaths": "false", "log.showSignature": "true",
	} {
		git(t, dir, "config", k, v)
	}
	r := take(t, Options{Dir: filepath.Join(dir, "d")})
	same(t, contents(t, r, r.Tree), files{"b": "2", "new": "3"})
	r = take(t, Options{Dir: dir, Rev: "HEAD"})
	same(t, contents(t, r, r.Tree), files{"ä": "1", "d/b": "2"})
}

func TestIndexOfTheUserIsNotWritten(t *testing.T) {
	dir := repository(t, files{"a": "1"})
	index := filepath.Join(dir, ".git", "index")
	before, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "a"), 0o755); err != nil { // a change that git would note
		t.Fatal(err)
	}
	take(t, Options{Dir: dir})
	after, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	same(t, string(after), string(before))
}

func TestRepositoryOfAnotherUserIsExplained(t *testing.T) {
	dir := repository(t, files{"a": "1"})
	t.Setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
	_, err := Take(t.Context(), Options{Dir: dir})
	if err == nil {
		t.Fatal("no error")
	}
	says(t, err.Error(), "owned by another user", "git config --global --add safe.directory "+dir)
	t.Setenv("GIT_CONFIG_COUNT", "1")
	t.Setenv("GIT_CONFIG_KEY_0", "safe.directory")
	t.Setenv("GIT_CONFIG_VALUE_0", "*")
	take(t, Options{Dir: dir})
}

func TestMissingWorkspaceIsExplained(t *testing.T) {
	if _, err := Take(t.Context(), Options{Dir: filepath.Join(t.TempDir(), "x")}); err == nil {
		t.Error("no error")
	}
	gone := filepath.Join(t.TempDir(), "gone")
	write(t, gone, files{"a": "1"})
	t.Chdir(gone)
	if err := os.RemoveAll(gone); err != nil {
		t.Fatal(err)
	}
	if _, err := Take(t.Context(), Options{Dir: "."}); err == nil {
		t.Error("no error")
	} else {
		says(t, err.Error(), "no such file")
	}
}

func TestChangedFileIsNotRead(t *testing.T) {
	dir := repository(t, files{"a": "1", "b": "2", "c": "3", "d": "4"})
	r := take(t, Options{Dir: dir})
	write(t, dir, files{"a": "x", "b": "longer"})
	if err := errors.Join(os.Remove(filepath.Join(dir, "c")), os.Remove(filepath.Join(dir, "d"))); err != nil {
		t.Fatal(err)
	}
	write(t, dir, files{"d": "-> a"})
	for _, f := range r.Tree.Files {
		c, err := r.Open(f)
		if err == nil {
			_, err = io.Copy(io.Discard, c)
			_ = c.Close()
		}
		if !errors.Is(err, ErrChanged) {
			t.Errorf("%s: %v", f.Path, err)
		}
	}
}

func TestDescribe(t *testing.T) {
	r := &Result{Bytes: 18_000_000, From: "git work tree /x"}
	r.Tree = take(t, Options{Dir: repository(t, files{"a": "1"})}).Tree
	same(t, r.Describe(&Sent{Files: 1204, Bytes: 41_200}), "workspace  1 file, 18 MB (1,204 files, 41 kB new), from git work tree /x")
	same(t, r.Describe(nil), "workspace  1 file, 18 MB, from git work tree /x")
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 9_960: "10 kB", 1_500_000: "1.5 MB", 999_999: "1.0 MB", 1 << 40: "1.1 TB"} {
		same(t, size(n), want)
	}
}
