package files_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

// many returns enough files for a directory that is worth to be kept.
func many(text string) contents {
	c := contents{}
	for i := range 100 {
		c[fmt.Sprintf("d%d/f%d", i%7, i)] = fmt.Sprint(text, i)
	}
	return c
}

func end(t testing.TB, d workspace.Directory) {
	t.Helper()
	d.Gone()
	natstest.Check(t, d.Close())
}

func TestDirectoryServesTheNextAttempt(t *testing.T) {
	s := newSite(t, 2)
	first, second := s.push(many("a")), s.push(many("b"))
	artifact := jobs.Restore{Artifact: jobs.Artifact{Name: "gen", Tree: *s.push(contents{"d1/gen": "x", "d0/f0": "other"})}, Module: "m"}

	d := s.prepare(&jobs.JobFiles{Workspace: first, Restore: []jobs.Restore{artifact}}, "")
	path := d.Found().Dir
	write(t, path, contents{"d2/f2": "changed", "new/file": "x"})
	natstest.Check(t, os.RemoveAll(filepath.Join(path, "d3")))
	end(t, d)

	for i, want := range []*jobs.Tree{first, first, second, first} {
		d := s.prepare(&jobs.JobFiles{Workspace: want}, "")
		if d.Found().Dir != path {
			t.Errorf("attempt %d: it is in %s, and not in the directory %s that the one before has left", i, d.Found().Dir, path)
		}
		if got := root(t, d.Found().Dir); got != want.Root {
			t.Errorf("attempt %d: the directory does not hold the snapshot", i)
		}
		if info, err := os.Stat(filepath.Join(d.Found().Dir, "d2/f2")); err != nil || !info.ModTime().Equal(taken) {
			t.Errorf("attempt %d: the time of a file is not that of the snapshot: %v", i, err)
		}
		end(t, d)
	}
}

func TestDirectoryWithProcessesLeftIsRemoved(t *testing.T) {
	s := newSite(t, 2)
	f := &jobs.JobFiles{Workspace: s.push(many("a"))}
	d := s.prepare(f, "")
	path := d.Found().Dir
	natstest.Check(t, d.Close())
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the directory of an attempt that may run on was kept: %v", err)
	}
	if d = s.prepare(f, ""); d.Found().Dir == path {
		t.Error("the next attempt runs in the same directory")
	}
	end(t, d)
}

func TestKeptDirectoriesAreBounded(t *testing.T) {
	s := newSite(t, 1)
	f := &jobs.JobFiles{Workspace: s.push(many("a"))}
	small := &jobs.JobFiles{Workspace: s.push(contents{"one": "file"})}
	open := []workspace.Directory{s.prepare(f, ""), s.prepare(f, ""), s.prepare(small, "")}
	for _, d := range open {
		end(t, d)
	}
	var kept []string
	for _, d := range open {
		if _, err := os.Lstat(d.Found().Dir); err == nil {
			kept = append(kept, d.Found().Dir)
		}
	}
	if len(kept) != 1 || kept[0] != open[1].Found().Dir {
		t.Errorf("%v are kept, and the bound is 1", kept)
	}
	natstest.Check(t, s.Close())
	if _, err := os.Lstat(open[1].Found().Dir); !os.IsNotExist(err) {
		t.Errorf("the kept directory outlives the machine: %v", err)
	}
}

func TestDirectoryReplacedByALinkIsNotUsed(t *testing.T) {
	s := newSite(t, 1)
	f := &jobs.JobFiles{Workspace: s.push(many("a"))}
	d := s.prepare(f, "")
	path := d.Found().Dir
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	natstest.Check(t, os.Rename(path, elsewhere))
	natstest.Check(t, os.Symlink(elsewhere, path))
	end(t, d)
	d = s.prepare(f, "")
	if d.Found().Dir == path || root(t, d.Found().Dir) != f.Workspace.Root {
		t.Errorf("the attempt is in %s, which was replaced by a link", d.Found().Dir)
	}
	end(t, d)
	if root(t, elsewhere) != f.Workspace.Root {
		t.Error("files behind the link were changed")
	}
}

func TestDamagedContentIsFetchedAgain(t *testing.T) {
	s := newSite(t, 0)
	f := &jobs.JobFiles{Workspace: s.push(many("a"))}
	natstest.Check(t, s.prepare(f, "").Close())
	found, err := filepath.Glob(filepath.Join(s.dir, "content", "*", "*"))
	if err != nil || len(found) == 0 {
		t.Fatal("no content", err)
	}
	for _, file := range found {
		natstest.Check(t, os.WriteFile(file, []byte("damaged"), 0o600))
	}
	d := s.prepare(f, "")
	if root(t, d.Found().Dir) != f.Workspace.Root {
		t.Error("the directory does not hold the snapshot")
	}
	natstest.Check(t, d.Close())
}
