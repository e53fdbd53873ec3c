package snapshot

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/pipeline"
)

// restored writes a snapshot with its .git into a directory, as a worker does.
func restored(t *testing.T, r *Result) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, contents(t, r, r.Tree))
	if r.Git == nil {
		t.Fatal("the snapshot has no .git")
	}
	for _, f := range r.Git.Files {
		if !f.HasContent() {
			write(t, dir, files{f.Path + "/": ""})
			continue
		}
		write(t, dir, files{f.Path: ""})
		if err := os.WriteFile(filepath.Join(dir, f.Path), []byte(readAll(t, r, f)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestShallowGitAnswersForTheCommit(t *testing.T) {
	dir := repository(t, files{"a": "1", "big/x": "2", "d/e/f": "3", "log.txt": "4"})
	git(t, dir, "tag", "v1")
	write(t, dir, files{"a": "2"})
	commit(t, dir)
	git(t, dir, "tag", "-am", "second", "v2")
	git(t, dir, "remote", "add", "origin", "https://user:hunter2@example.com/a/b.git")
	write(t, filepath.Join(dir, ".git", "hooks"), files{"pre-commit": "#!/bin/sh\n"})
	write(t, dir, files{IgnoreFile: "*.txt\n", "d/e/f": "changed"})
	r := take(t, Options{
		Dir: dir, File: filepath.Join(dir, "p.yaml"), IndexDir: t.TempDir(),
		Workspace: pipeline.Workspace{Git: pipeline.LastCommit, Exclude: []string{"big"}},
	})
	to := restored(t, r)
	same(t, git(t, to, "rev-parse", "HEAD"), git(t, dir, "rev-parse", "HEAD"))
	same(t, git(t, to, "describe", "--dirty"), "v2-dirty")
	same(t, git(t, to, "tag"), "v2")
	same(t, git(t, to, "rev-list", "--count", "HEAD"), "1")
	same(t, git(t, to, "branch", "--show-current"), "main")
	same(t, git(t, to, "remote", "get-url", "origin"), "https://example.com/a/b.git")
	same(t, git(t, to, "status", "--porcelain"), "M d/e/f\n?? "+IgnoreFile)
	same(t, git(t, to, "show", "HEAD:d/e/f"), "3")
	git(t, to, "fsck", "--strict")
	for _, f := range r.Git.Files {
		if strings.Contains(f.Path, "hook") || f.HasContent() && strings.Contains(readAll(t, r, f), "hunter2") {
			t.Error(f.Path)
		}
	}
}

func TestFullGitHasHistoryAndTags(t *testing.T) {
	dir := repository(t, files{"a": "1"})
	git(t, dir, "tag", "v1")
	git(t, dir, "checkout", "-qb", "side")
	write(t, dir, files{"b": "side"})
	commit(t, dir)
	git(t, dir, "tag", "-am", "aside", "other")
	git(t, dir, "checkout", "-q", "main")
	write(t, dir, files{"a": "2"})
	commit(t, dir)
	r := take(t, Options{Dir: dir, Workspace: pipeline.Workspace{Git: pipeline.FullHistory}})
	to := restored(t, r)
	same(t, git(t, to, "describe", "--tags"), git(t, dir, "describe", "--tags"))
	same(t, git(t, to, "rev-list", "--count", "HEAD"), "2")
	same(t, git(t, to, "show", "other:b"), "side")
	same(t, git(t, to, "status", "--porcelain"), "")
	same(t, git(t, to, "branch", "--format=%(refname:short)"), "main")
	git(t, to, "fsck", "--strict")
}

func TestGitOfARevIsDetached(t *testing.T) {
	dir := repository(t, files{"a": "1"})
	first := git(t, dir, "rev-parse", "HEAD")
	write(t, dir, files{"a": "2"})
	commit(t, dir)
	to := restored(t, take(t, Options{Dir: dir, Rev: first, Workspace: pipeline.Workspace{Git: pipeline.LastCommit}}))
	same(t, git(t, to, "rev-parse", "HEAD"), first)
	same(t, git(t, to, "branch", "--show-current"), "")
	same(t, git(t, to, "status", "--porcelain"), "")
}

// TestGitTravelsOnce: clones with other packs give the same files, and a commit
// that changes one file gives mostly the same files.
func TestGitTravelsOnce(t *testing.T) {
	all := files{}
	for i := range 1000 {
		all[strings.Repeat("d/", i%7)+"f"+strings.Repeat("x", i/7)] = strings.Repeat("content ", i)
	}
	dir := repository(t, all)
	for _, depth := range []pipeline.GitHistory{pipeline.LastCommit, pipeline.FullHistory} {
		digests := func(dir, index string) map[string]string {
			r := take(t, Options{Dir: dir, IndexDir: index, Workspace: pipeline.Workspace{Git: depth}})
			found := map[string]string{}
			for _, f := range r.Git.Files {
				if f.Path != ".git/config" { // names the origin
					found[f.Path] = f.Digest.String()
				}
			}
			return found
		}
		index := t.TempDir()
		first := digests(dir, index)
		clone := filepath.Join(t.TempDir(), "clone")
		git(t, dir, "clone", "-q", "--no-local", dir, clone)
		git(t, clone, "repack", "-qadf", "--window=50")
		same(t, digests(clone, ""), first)
		same(t, digests(dir, index), first)

		write(t, dir, files{"d/d/f": "changed" + strings.Repeat("!", int(depth))})
		commit(t, dir)
		again := digests(dir, index)
		maps.DeleteFunc(again, func(p, _ string) bool { _, ok := first[p]; return ok || !strings.HasSuffix(p, ".pack") })
		if depth == pipeline.LastCommit && len(again) > 4 || len(again) > len(first)/2 {
			t.Errorf("%v: %d new packs: %v", depth, len(again), slices.Sorted(maps.Keys(again)))
		}
	}
}

func TestGitWithoutACommit(t *testing.T) {
	dir := t.TempDir()
	git(t, dir, "init", "-q")
	w := pipeline.Workspace{Git: pipeline.LastCommit}
	r := take(t, Options{Dir: dir, Workspace: w})
	if r.Git != nil || !strings.Contains(strings.Join(r.Warnings, ""), "no commit yet") {
		t.Error(r.Git, r.Warnings)
	}
	if _, err := Take(t.Context(), Options{Dir: t.TempDir(), Workspace: w}); err == nil || !strings.Contains(err.Error(), "not in a git repository") {
		t.Error(err)
	}
}
