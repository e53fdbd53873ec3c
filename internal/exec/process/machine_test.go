//go:build linux

package process

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// The machine causes the errors about what it lacks, and the module those about its
// command.
func TestAttemptThatCannotBeginIsHandedBack(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("#!/no/such/interpreter\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		job    *jobs.Job
		change func(*testing.T, *setting)
		unable bool
		text   string
	}{
		{"no scratch space", script("true"), func(t *testing.T, _ *setting) { t.Helper(); t.Setenv("TMPDIR", gone) }, true, "create a directory for the attempt in " + gone + ": no such file or directory"},
		{"scratch is a file", script("true"), func(t *testing.T, _ *setting) { t.Helper(); t.Setenv("TMPDIR", file) }, true, "not a directory"},
		{"the workspace is gone", script("true"), func(_ *testing.T, c *setting) { c.dir = gone }, true, "workspace " + gone + ": no such file or directory"},
		{"the workspace is a file", script("true"), func(_ *testing.T, c *setting) { c.dir = file }, true, "is not a directory"},
		{"a directory below it is missing", &jobs.Job{Command: &jobs.CommandJob{Run: "true", Dir: "sub"}}, nil, false, `dir "sub" does not exist`},
		{"the command is unknown", &jobs.Job{Command: &jobs.CommandJob{Args: []string{"no-such-tool"}}}, nil, false, "not found on PATH"},
		{"the command is not executable", &jobs.Job{Command: &jobs.CommandJob{Args: []string{"/etc/passwd"}}}, nil, false, "is not executable"},
		{"the interpreter is unknown", &jobs.Job{Command: &jobs.CommandJob{Args: []string{file}}}, nil, false, "does not exist"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, _ := execute(t, tt.job, func(c *setting) {
				if tt.change != nil {
					tt.change(t, c)
				}
			})
			want := report.AttemptFailed
			if tt.unable {
				want = report.AttemptHandedBack
			}
			if e.Status != want || e.Unable != tt.unable || !e.Started.IsZero() || !strings.Contains(e.Error, tt.text) {
				t.Errorf("%s, unable %v, %q; want %s, %v, %q", e.Status, e.Unable, e.Error, want, tt.unable, tt.text)
			}
		})
	}
}

func TestCommandsOfAWorkerWithoutAPATHFindTheDefault(t *testing.T) {
	t.Setenv("PATH", "")
	if path := lookup(ownEnvironment(), "PATH"); path != defaultPath {
		t.Errorf("commands find PATH=%s", path)
	}
}

// HOME and USER come from the environment of the worker, or else from its account, or
// else from a temporary directory, with a warning.
func TestHomeAndUserAreAlwaysSet(t *testing.T) {
	h, warning := newHome([]string{"HOME=/h", "USER=u"})
	if got := h.variables([]string{"HOME=/h", "USER=u"}, "/own"); len(got) != 0 || warning != "" {
		t.Errorf("%q over those that are set; warning %q", got, warning)
	}
	h, _ = newHome(nil)
	defer h.remove()
	if got := h.variables([]string{"HOME="}, "/own"); len(got) != 2 || workspace.Check(strings.TrimPrefix(got[0], "HOME=")) != nil || got[1] == "USER=" {
		t.Errorf("%q for a worker without either", got)
	}
	none := home{user: strconv.Itoa(54321)}
	if got := none.variables(nil, "/own"); len(got) != 2 || got[0] != "HOME=/own" || got[1] != "USER=54321" {
		t.Errorf("%q for a worker that could make no directory", got)
	}
}
