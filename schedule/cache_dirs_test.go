package schedule_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

const withDirs = `
name: p
modules:
  build:
    run: "true"
    cache-dirs:
      mod: {env: GOMODCACHE, key: "go-${{ hashFiles('go.sum') }}", restore: [go-], fail-on-miss: true}
      out: {path: out, key: "out", save: false}
`

// dirsPlayer answers what a run with cache directories asks for.
type dirsPlayer struct {
	*player
	hash   func([]string) (string, error)
	lost   error // why the list of the snapshot cannot be loaded
	stored map[string]jobs.Tree
	failed error
	kept   []jobs.StoredDir
}

func playDirs(t *testing.T, spec *jobs.Spec, x *dirsPlayer) *report.Report {
	t.Helper()
	spec.Run, spec.Pipeline = "r", parse(t, withDirs)
	x.player = newPlayerOf(t, spec, ok)
	x.ends = func(string, jobs.Attempt) jobs.Outcome {
		return jobs.Outcome{Status: report.AttemptSucceeded, CacheDirs: []jobs.StoredDir{{Name: "mod", Key: "go-1"}}}
	}
	x.others = x.perform
	return x.play(1)
}

func (x *dirsPlayer) perform(a schedule.Action) bool {
	switch a := a.(type) {
	case schedule.Fetch:
		a.HashFiles = x.hash
		x.d.Fetched(a, nil, x.lost)
	case schedule.FindDirs:
		for i := range a.Job.Files.CacheDirs {
			c := &a.Job.Files.CacheDirs[i]
			if tree, ok := x.stored[c.Key]; ok {
				c.Found, c.Tree = c.Key, tree
			}
		}
		x.d.DirsFound(a, x.failed)
	case schedule.KeepDirs:
		x.kept = append(x.kept, a.Dirs...)
		x.d.DirsKept()
	default:
		return false
	}
	return true
}

func hashOne(globs []string) (string, error) { return strings.Join(globs, ",") + "1", nil }

func TestJobNamesTheDirectoriesToRestore(t *testing.T) {
	x := &dirsPlayer{hash: hashOne, stored: map[string]jobs.Tree{"go-go.sum1": {Root: "ab"}}}
	if rep := playDirs(t, &jobs.Spec{Workspace: &jobs.Snapshot{}}, x); rep.Status != report.RunSucceeded {
		t.Fatal(rep.Error, ended(rep))
	}
	dirs := x.jobs["build"].Files.CacheDirs
	if len(dirs) != 2 || dirs[0].Key != "go-go.sum1" || dirs[0].Tree.Root != "ab" || dirs[0].Stored() {
		t.Errorf("the job has %+v", dirs)
	}
	if !dirs[1].ReadOnly || dirs[1].Found != "" {
		t.Errorf("the job has %+v", dirs[1])
	}
	if len(x.kept) != 1 || x.kept[0].Name != "mod" {
		t.Errorf("it keeps %+v before the run ends", x.kept)
	}
}

func TestModuleFailsWithoutADirectoryThatItNeeds(t *testing.T) {
	for _, c := range []struct {
		name string
		spec jobs.Spec
		x    dirsPlayer
		want string
	}{
		{"nothing is stored", jobs.Spec{Workspace: &jobs.Snapshot{}}, dirsPlayer{hash: hashOne}, `nothing is stored under the key "go-go.sum1" or one that begins with ["go-"]`},
		{"the store fails", jobs.Spec{Workspace: &jobs.Snapshot{}}, dirsPlayer{hash: hashOne, failed: errors.New("its files are gone")}, "its files are gone"},
		{"the cache is off", jobs.Spec{Workspace: &jobs.Snapshot{}, Cache: jobs.CachePolicy{Off: true}}, dirsPlayer{hash: hashOne}, "nothing is restored"},
		{"the snapshot is damaged", jobs.Spec{Workspace: &jobs.Snapshot{}}, dirsPlayer{lost: errors.New("read the list of 3 files: damaged")}, "read the list of 3 files: damaged"},
		{"there is no snapshot", jobs.Spec{}, dirsPlayer{}, "the run has no snapshot"},
	} {
		rep := playDirs(t, &c.spec, &c.x)
		if got := ended(rep)["build"]; !strings.HasPrefix(got, string(report.Failed)) || !strings.Contains(got, c.want) {
			t.Errorf("%s: the module is %s", c.name, got)
		}
		if len(c.x.jobs) > 0 {
			t.Errorf("%s: a job was published", c.name)
		}
	}
}

func TestJobOfACancelledRunIsNotPublishedOnceItsDirectoriesAreFound(t *testing.T) {
	x := &dirsPlayer{}
	x.player = newPlayer(t, strings.Replace(withDirs, `"go-${{ hashFiles('go.sum') }}"`, "go", 1), ok)
	x.d = schedule.NewDispatcher(x.run, x.fleet(1))
	var find schedule.FindDirs
	for range 3 {
		actions, _ := x.d.Decide(x.now)
		for _, a := range actions {
			if f, ok := a.(schedule.FindDirs); ok {
				find = f
				continue
			}
			x.player.perform(a)
		}
	}
	if find.Job == nil {
		t.Fatal("it does not look for the directories")
	}
	x.cancel("1")
	find.Job.Files.CacheDirs[0].Found = "go"
	x.d.DirsFound(find, nil)
	actions, _ := x.d.Decide(x.now)
	for _, a := range actions {
		x.player.perform(a)
	}
	if s := x.run.StatusOf("build"); s != report.Cancelled || len(x.queue) > 0 {
		t.Errorf("the module is %s, and %d jobs are published", s, len(x.queue))
	}
}

// findDirs answers a search for cache directories: of a module that may still run.
func (w *world) findDirs(a schedule.FindDirs) {
	for i := range a.Job.Files.CacheDirs {
		if c := &a.Job.Files.CacheDirs[i]; rapid.Bool().Draw(w.t, "found") {
			c.Found = c.Key
		}
	}
	w.dispatcher.DirsFound(a, nil)
}

// TestModuleFindsWhatItsNeedsHaveStored: its directories are looked up when those of
// the module before it are recorded.
func TestModuleFindsWhatItsNeedsHaveStored(t *testing.T) {
	const src = `
name: p
modules:
  first: &keep {run: "true", cache-dirs: {mod: {env: MODS, key: k}}}
  second: {<<: *keep, needs: first}
`
	p := newPlayer(t, src, func(name string, _ jobs.Attempt) jobs.Outcome {
		return jobs.Outcome{Status: report.AttemptSucceeded, CacheDirs: []jobs.StoredDir{{Name: "mod", Key: "k"}}}
	})
	kept := false
	var keep bool
	p.others = func(a schedule.Action) bool {
		switch a := a.(type) {
		case schedule.FindDirs:
			if a.Job.Name == "second" && !kept {
				t.Error("it is looked up before the first module's directory is recorded")
			}
			p.d.DirsFound(a, nil)
		case schedule.KeepDirs:
			if a.Module.Name == "second" {
				p.d.DirsKept()
			}
			keep = true
		default:
			return false
		}
		return true
	}
	p.before = func(_ *player, _ int) {
		if keep && !kept { // a decision later
			kept = true
			p.d.DirsKept()
		}
	}
	if rep := p.play(1); rep.Status != report.RunSucceeded || !kept {
		t.Errorf("the run %s", rep.Status)
	}
}
