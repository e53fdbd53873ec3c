package files_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

// opens is an artifact that a function opens.
func opens(need, name, to string, t *jobs.Tree) jobs.Restore {
	return jobs.Restore{Artifact: jobs.Artifact{Name: name, Tree: *t}, Module: need, To: to, Open: true, Need: need}
}

func TestArtifactIsAFileSystem(t *testing.T) {
	s := newSite(t, 0)
	bin := s.push(contents{"bin/tool": "tool", "bin/lib/a": "a", "empty": ""})
	d := s.prepare(&jobs.JobFiles{Restore: []jobs.Restore{
		opens("build", "bin", "", bin), opens("each", "log", "each-1", s.push(contents{"log": "1"})), opens("each", "log", "each-2", s.push(contents{"log": "2"})),
	}}, "")
	if entries := natstest.Must[[]os.DirEntry](t)(os.ReadDir(d.Found().Dir)); len(entries) > 0 {
		t.Errorf("they are restored: %v", entries)
	}
	open := d.Found().Artifacts
	ctx := natstest.Within(t)
	files := natstest.Must[fs.FS](t)(open.Open(ctx, "build", "bin"))
	natstest.Check(t, fstest.TestFS(files, "bin/tool", "bin/lib/a", "empty"))
	members := natstest.Must[fs.FS](t)(open.Open(ctx, "each", "log"))
	if two := natstest.Must[[]byte](t)(fs.ReadFile(members, "each-2/log")); string(two) != "2" {
		t.Errorf("the second member has %q", two)
	}
	if _, err := open.Open(ctx, "build", "other"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an artifact that was not left: %v", err)
	}
	to := filepath.Join(t.TempDir(), "a", "b")
	natstest.Check(t, open.Unpack(ctx, "build", "bin", to))
	if root(t, to) != bin.Root {
		t.Error("it unpacks another tree")
	}
	ended, end := context.WithCancel(ctx)
	later := natstest.Must[fs.FS](t)(open.Open(ended, "build", "bin"))
	file := natstest.Must[fs.File](t)(later.Open("bin/tool"))
	end()
	if _, err := file.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("read after the end of the context: %v", err)
	}
	natstest.Check(t, file.Close())
	if _, err := later.Open("bin/tool"); !errors.Is(err, context.Canceled) {
		t.Errorf("open after the end of the context: %v", err)
	}
	natstest.Check(t, d.Close())
	if _, err := files.Open("bin/tool"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("open after the end of the attempt: %v", err)
	}
}

// TestArtifactIsFetchedFileByFile: a file that is not opened is not fetched.
func TestArtifactIsFetchedFileByFile(t *testing.T) {
	s := newSite(t, 0)
	big := func(c string) string { return strings.Repeat(c, 1<<20) }
	d := s.prepare(&jobs.JobFiles{Restore: []jobs.Restore{opens("build", "bin", "", s.push(contents{"a": big("a"), "b": big("b"), "c": big("c")}))}}, "")
	defer func() { natstest.Check(t, d.Close()) }()
	files := natstest.Must[fs.FS](t)(d.Found().Artifacts.Open(natstest.Within(t), "build", "bin"))
	if data := natstest.Must[[]byte](t)(fs.ReadFile(files, "b")); string(data) != big("b") {
		t.Error("the file has other content")
	}
	fetched := 0
	natstest.Check(t, filepath.WalkDir(filepath.Join(s.dir, "content"), func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			fetched++
		}
		return err
	}))
	if fetched != 1 {
		t.Errorf("%d files were fetched", fetched)
	}
}
