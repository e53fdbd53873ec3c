package files_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

const token = "gh-token-0123456789"

func masker() *mask.Masker { return mask.New([]mask.Secret{{Name: "TOKEN", Value: token}}) }

// stores reports whether a directory contains a text in any of its files.
func stores(t *testing.T, dir, text string) bool {
	t.Helper()
	found := false
	natstest.Check(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		found = found || strings.Contains(string(data), text)
		return err
	}))
	return found
}

// TestArtifactWithASecretIsNotStored, wherever in it the secret is; the error names the
// path, and the machine keeps nothing of the content either.
func TestArtifactWithASecretIsNotStored(t *testing.T) {
	padding := strings.Repeat("x", 100<<10) // longer than what is read at a time
	for name, c := range map[string]struct {
		write func(dir string)
		want  string
	}{
		"in a file":             {func(dir string) { write(t, dir, contents{"out/log": padding + token}) }, `read "out/log": it contains the secret TOKEN`},
		"in the name of a file": {func(dir string) { write(t, dir, contents{"out/" + token: "x"}) }, "the path out/***: it contains the secret TOKEN"},
		"in a link": {func(dir string) {
			write(t, dir, contents{"out/" + "a": "x"})
			natstest.Check(t, os.Symlink(token, filepath.Join(dir, "out", "link")))
		}, "the target of the link out/link: it contains the secret TOKEN"},
	} {
		s := newSite(t, 0)
		d := s.prepare(&jobs.JobFiles{Namespace: "main", Produce: []pipeline.Produce{produced("logs", "out/**"), produced("other", "o")}}, "")
		write(t, d.Found().Dir, contents{"o": "other"})
		c.write(d.Found().Dir)
		left, err := d.Collect(natstest.Within(t), report.AttemptSucceeded, masker())
		if len(left) != 1 || left[0].Name != "other" || err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "artifact logs") {
			t.Errorf("%s: %+v, %v; want %q", name, left, err, c.want)
		}
		if _, ok := errors.AsType[*mask.FoundError](err); !ok {
			t.Errorf("%s: %T", name, err)
		}
		natstest.Check(t, d.Close())
		if stores(t, s.dir, token) {
			t.Errorf("%s: the machine keeps it", name)
		}
	}
}

// TestSecretsAreAllowedWhereTheModuleSaysSo: without a Masker nothing is searched.
func TestSecretsAreAllowedWhereTheModuleSaysSo(t *testing.T) {
	s := newSite(t, 0)
	d := s.prepare(&jobs.JobFiles{Namespace: "main", Produce: []pipeline.Produce{produced("logs", "log")}}, "")
	write(t, d.Found().Dir, contents{"log": token})
	left, err := d.Collect(natstest.Within(t), report.AttemptSucceeded, nil)
	natstest.Check(t, err)
	natstest.Check(t, d.Close())
	if len(left) != 1 || !stores(t, s.dir, token) {
		t.Errorf("%+v", left)
	}
}

// TestFileThatIsKnownIsSearched: the workspace of a worker has an index of its files,
// and a file may have been stored before its content became a secret.
func TestFileThatIsKnownIsSearched(t *testing.T) {
	s, in := newSite(t, 0), t.TempDir()
	write(t, in, contents{"log": token})
	natstest.Check(t, os.Chtimes(filepath.Join(in, "log"), taken, taken))
	collect := func(m *mask.Masker) error {
		d := s.prepare(&jobs.JobFiles{Namespace: "main", Produce: []pipeline.Produce{produced("logs", "log")}}, in)
		defer func(d workspace.Directory) { natstest.Check(t, d.Close()) }(d)
		_, err := d.Collect(natstest.Within(t), report.AttemptSucceeded, m)
		return err
	}
	natstest.Check(t, collect(nil))
	if err := collect(masker()); err == nil {
		t.Error("it is stored again")
	}
}

func TestCacheDirectoryWithASecretIsNotStored(t *testing.T) {
	s := newSite(t, 0)
	d := s.prepare(&jobs.JobFiles{Namespace: "main", CacheDirs: places(func(*jobs.CacheDir) {})}, "")
	at := paths(d)
	write(t, at[0], contents{".npmrc": "//registry/:_authToken=" + token})
	write(t, at[1], contents{"x": "y"})
	stored, warnings, err := d.CollectDirs(natstest.Within(t), masker())
	if len(stored) != 1 || stored[0].Name != "mod" || len(warnings) > 0 || err == nil || !strings.Contains(err.Error(), `cache directory node: take files: read ".npmrc": it contains the secret TOKEN`) {
		t.Errorf("%+v, %q, %v", stored, warnings, err)
	}
	natstest.Check(t, d.Close())
	if stores(t, s.dir, token) {
		t.Error("the machine keeps it")
	}
}
