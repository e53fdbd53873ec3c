package files_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

// places are cache directories at both places.
func places(change func(*jobs.CacheDir)) []jobs.CacheDir {
	dirs := []jobs.CacheDir{{Name: "node", Path: "web/node_modules", Key: "new"}, {Name: "mod", Env: "GOMODCACHE", Key: "new"}}
	for i := range dirs {
		change(&dirs[i])
	}
	return dirs
}

// paths are where these directories are.
func paths(d workspace.Directory) []string {
	found := []string{filepath.Join(d.Found().Dir, "web", "node_modules")}
	for _, v := range d.Found().Variables {
		found = append(found, v.Value)
	}
	return found
}

func TestCacheDirectoriesAreRestoredAndStored(t *testing.T) {
	s := newSite(t, 0)
	old := s.push(contents{"a/x": "old", "y": "same"})
	for _, c := range []struct {
		name   string
		change func(*jobs.CacheDir)
		want   string // of a/x before the attempt
		stored bool
	}{
		{"a miss", func(*jobs.CacheDir) {}, "", true},
		{"another key", func(c *jobs.CacheDir) { c.Found, c.Tree = "older", *old }, "old", true},
		{"the exact key", func(c *jobs.CacheDir) { c.Found, c.Tree = "new", *old }, "old", false},
		{"read only", func(c *jobs.CacheDir) { c.ReadOnly = true }, "", false},
	} {
		d := s.prepare(&jobs.JobFiles{Namespace: "main", CacheDirs: places(c.change)}, "")
		for _, at := range paths(d) {
			if got, _ := os.ReadFile(filepath.Join(at, "a", "x")); string(got) != c.want {
				t.Errorf("%s: %s contains %q", c.name, at, got)
			}
			write(t, at, contents{"a/x": "new", "y": "same"})
		}
		stored, warnings, _ := d.CollectDirs(natstest.Within(t), nil)
		if len(warnings) > 0 || len(d.Found().Warnings) > 0 {
			t.Errorf("%s: it warns: %q, %q", c.name, warnings, d.Found().Warnings)
		}
		if (len(stored) == 2) != c.stored {
			t.Errorf("%s: it stores %+v", c.name, stored)
		}
		want := s.push(contents{"a/x": "new", "y": "same"}).Root
		for _, dir := range stored {
			if dir.Key != "new" || dir.Tree.Root != want || dir.Tree.Namespace != "main" {
				t.Errorf("%s: it stores %+v", c.name, dir)
			}
		}
		left := paths(d)
		natstest.Check(t, d.Close())
		for _, at := range left {
			if _, err := os.Stat(at); err == nil {
				t.Errorf("%s: %s is left", c.name, at)
			}
		}
	}
}

func TestTwoAttemptsHaveTwoCacheDirectories(t *testing.T) {
	s := newSite(t, 2)
	f := &jobs.JobFiles{Namespace: "main", CacheDirs: places(func(*jobs.CacheDir) {})}
	a, b := s.prepare(f, ""), s.prepare(f, "")
	for i, at := range paths(a) {
		if at == paths(b)[i] {
			t.Errorf("both have %s", at)
		}
		write(t, at, contents{"x": "a"})
		if _, err := os.Stat(filepath.Join(paths(b)[i], "x")); err == nil {
			t.Errorf("%s is shared", at)
		}
	}
	natstest.Check(t, a.Close())
	natstest.Check(t, b.Close())
}

func TestCacheDirectoriesInAWorkspaceAreLeftAlone(t *testing.T) {
	s := newSite(t, 0)
	old := s.push(contents{"x": "old"})
	dir := t.TempDir()
	d := s.prepare(&jobs.JobFiles{Namespace: "main", CacheDirs: places(func(c *jobs.CacheDir) { c.Found, c.Tree = "older", *old })}, dir)
	defer func() { natstest.Check(t, d.Close()) }()
	found := d.Found()
	if len(found.Unkept) != 1 || found.Unkept[0] != "node" {
		t.Errorf("not kept are %q", found.Unkept)
	}
	if entries := natstest.Must[[]os.DirEntry](t)(os.ReadDir(dir)); len(entries) > 0 {
		t.Errorf("the workspace has %v", entries)
	}
	if got, _ := os.ReadFile(filepath.Join(found.Variables[0].Value, "x")); found.Variables[0].Key != "GOMODCACHE" || string(got) != "old" {
		t.Errorf("the variables are %v", found.Variables)
	}
	if stored, _, _ := d.CollectDirs(natstest.Within(t), nil); len(stored) != 1 || stored[0].Name != "mod" {
		t.Errorf("it stores %+v", stored)
	}
}

func TestContentThatIsGoneIsAMiss(t *testing.T) {
	s := newSite(t, 0)
	gone := jobs.Tree{Root: strings.Repeat("1", 64), Manifest: strings.Repeat("2", 64), Namespace: "main", Files: 1}
	lost := func(c *jobs.CacheDir) { c.Found, c.Tree = "new", gone }
	d := s.prepare(&jobs.JobFiles{Namespace: "main", CacheDirs: places(lost)}, "")
	if w := d.Found().Warnings; len(w) != 2 || !strings.Contains(w[0], "cache directory node is empty") {
		t.Errorf("it warns %q", w)
	}
	for _, at := range paths(d) {
		write(t, at, contents{"x": "1"})
	}
	if stored, _, _ := d.CollectDirs(natstest.Within(t), nil); len(stored) != 2 {
		t.Errorf("it stores %+v", stored)
	}
	natstest.Check(t, d.Close())
	_, err := s.Prepare(natstest.Within(t), &jobs.JobFiles{CacheDirs: places(func(c *jobs.CacheDir) { lost(c); c.FailOnMiss = true })}, "")
	if err == nil || !strings.Contains(err.Error(), `cache directory node: restore the content of "new"`) {
		t.Errorf("got %v", err)
	}
}

// The attempt may remove its directory, and make another one there, as npm ci does.
func TestReplacedAndRemovedCacheDirectories(t *testing.T) {
	s := newSite(t, 0)
	d := s.prepare(&jobs.JobFiles{Namespace: "main", CacheDirs: places(func(*jobs.CacheDir) {})}, "")
	defer func() { natstest.Check(t, d.Close()) }()
	for i, at := range paths(d) {
		natstest.Check(t, os.RemoveAll(at))
		if i == 0 {
			write(t, at, contents{"x": "1"})
		}
	}
	stored, warnings, _ := d.CollectDirs(natstest.Within(t), nil)
	if len(stored) != 1 || stored[0].Name != "node" || len(warnings) > 0 {
		t.Errorf("it stores %+v, and warns %q", stored, warnings)
	}
}
