package files_test

import (
	"testing"

	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestFaithfulAttempt: in the workspace of a worker, the result of an attempt may serve
// again there only if it found the inputs of the snapshot from the beginning to the end.
func TestFaithfulAttempt(t *testing.T) {
	t.Parallel()
	inputs := contents{"src/a.c": "a", "src/b.c": "b"}
	for name, c := range map[string]struct {
		before, after contents
		restore       bool // gen, which a need has left
		want          bool
	}{
		"the same, beside what is not declared": {before: contents{"README": "mine"}, after: contents{"other": "x"}, want: true},
		"another content":                       {before: contents{"src/a.c": "edited"}},
		"another content, by the attempt":       {after: contents{"src/a.c": "edited"}},
		"one more":                              {before: contents{"src/new.c": "n"}},
		"one more, by the attempt":              {after: contents{"src/new.c": "n"}},
		"what it produces":                      {before: contents{"src/out/app": "old"}, after: contents{"src/out/app": "new"}, want: true},
		"what it consumes":                      {before: contents{"src/gen.c": "g"}, restore: true, want: true},
		"what it consumes, changed":             {after: contents{"src/gen.c": "h", "src/a.c": "g"}, restore: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 0)
			f := &jobs.JobFiles{
				Workspace: s.push(contents{"src/a.c": "a", "src/b.c": "b", "README": "theirs"}), Narrow: true, Inputs: []string{"src/**"},
				Produce: []pipeline.Produce{{Name: "app", Paths: []string{"src/out/**"}}},
			}
			if c.restore {
				f.Restore = []jobs.Restore{{Artifact: jobs.Artifact{Name: "gen", Tree: *s.push(contents{"src/gen.c": "g"})}, Module: "generate"}}
			}
			dir := t.TempDir()
			write(t, dir, inputs)
			write(t, dir, c.before)
			d := s.prepare(f, dir)
			write(t, dir, c.after)
			if got := faithful(t, d); got != c.want {
				t.Errorf("it is faithful: %v", got)
			}
			natstest.Check(t, d.Close())
		})
	}
}

// TestFaithfulNeedsADeclaration: only a module with a cache declares what it reads, and
// what runs in a directory of its own needs no comparison.
func TestFaithfulNeedsADeclaration(t *testing.T) {
	t.Parallel()
	s := newSite(t, 0)
	snapshot := s.push(contents{"a": "a"})
	dir := t.TempDir()
	write(t, dir, contents{"a": "a"})
	for name, d := range map[string]workspace.Directory{
		"no cache":            s.prepare(&jobs.JobFiles{Workspace: snapshot}, dir),
		"no snapshot":         s.prepare(&jobs.JobFiles{Narrow: true, Inputs: []string{"a"}}, dir),
		"its own":             s.prepare(&jobs.JobFiles{Workspace: snapshot, Narrow: true, Inputs: []string{"a"}}, ""),
		"lost snapshot":       s.prepare(&jobs.JobFiles{Workspace: &jobs.Tree{Root: snapshot.Root, Manifest: snapshot.Root, Namespace: "main"}, Narrow: true, Inputs: []string{"a"}}, dir),
		"a glob that is none": s.prepare(&jobs.JobFiles{Workspace: snapshot, Narrow: true, Inputs: []string{"[a"}}, dir),
	} {
		if faithful(t, d) {
			t.Errorf("%s: it is faithful", name)
		}
		natstest.Check(t, d.Close())
	}
}

// faithful reports whether an attempt that ends now has been faithful.
func faithful(t *testing.T, d workspace.Directory) bool {
	t.Helper()
	still := d.Found().Faithful
	return still != nil && still(natstest.Within(t))
}
