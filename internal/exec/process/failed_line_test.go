//go:build linux

package process

import (
	"os"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

func TestFailedScriptNamesItsLine(t *testing.T) {
	const own = "trap 'echo bye' EXIT\necho a\ncp /nonexistent b\necho c\n"
	for _, tc := range []struct {
		name, text, want string
		shell            string
	}{
		{"sh", "echo a\n\ncp /nonexistent b\necho c\n", "exit code 1 at line 3: cp /nonexistent b", "sh"},
		{"bash", "echo a\n\ncp /nonexistent b\necho c\n", "exit code 1 at line 3: cp /nonexistent b", "bash"},
		{"default", "echo a\n  exit 7 # done\n", "exit code 7 at line 2: exit 7 # done", ""},
		{"its own trap", own, "exit code 1 at line 3: cp /nonexistent b", "sh"},
		{"clipped", "echo a\nfalse " + strings.Repeat("x", 100) + "\n", "exit code 1 at line 2: false " + strings.Repeat("x", 74) + "…", "sh"},
		{"one line", "false\n", "exit code 1", "sh"},
		{"killed", "echo a\nkill -KILL $$\n", "exit code 137: killed by SIGKILL — out of memory?", "sh"},
		{"python", "import sys\nsys.exit(3)\n", "exit code 3", "python"},
		{"record removed", "echo a\nrm -rf \"$(dirname \"$MODPIPE_OUTPUT\")\"\nfalse\necho b\n", "exit code 1", "sh"},
		{"no room for the record", "echo a\n: > \"$(dirname \"$MODPIPE_OUTPUT\")/line\"\nsh -c 'exit 3'\n", "exit code 3", "sh"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			job := &jobs.Job{Command: &jobs.CommandJob{Run: tc.text, Shell: tc.shell}}
			e, _ := execute(t, job)
			if e.Status != report.AttemptFailed || e.Error != tc.want {
				t.Errorf("ended %s, %q, want %q", e.Status, e.Error, tc.want)
			}
		})
	}
}

func TestScriptThatNamesItsLineLeavesSpares(t *testing.T) {
	s := &spares{most: 3}
	defer s.remove()
	for _, text := range []string{"echo a\nfalse\necho b\n", "set -a\necho a\necho b\n", "set -a\nfalse\necho b\n"} {
		execute(t, script(text), func(c *setting) { c.spares = s })
		if len(s.paths) != 1 {
			t.Fatalf("%q left %d directories, want 1", text, len(s.paths))
		}
		if entries, err := os.ReadDir(s.paths[0]); err != nil || len(entries) != 2 {
			t.Errorf("%q left %v, %v", text, entries, err)
		}
	}
}
