//go:build linux

package process

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// A process that a command leaves behind may finish as long as it writes: the end of
// the log is not lost behind a process substitution.
func TestLogBehindAProcessSubstitutionIsComplete(t *testing.T) {
	job := &jobs.Job{Grace: time.Minute, Command: &jobs.CommandJob{Shell: "bash", Run: `
exec > >(while IFS= read -r l; do printf 'stamp %s\n' "$l"; done) 2>&1
for i in $(seq 1 300); do echo "line $i"; done
echo "the last line"
exit 3`}}
	e, out := execute(t, job)
	if e.Status != report.AttemptFailed || *e.ExitCode != 3 {
		t.Errorf("ended %s, %q", e.Status, e.Error)
	}
	text := out.Stdout()
	if n := strings.Count(text, "stamp "); n != 301 || !strings.HasSuffix(text, "stamp the last line\n") {
		t.Errorf("%d lines of 301, the end is %q", n, text[max(0, len(text)-40):])
	}
	if len(out.Stderr()) > 0 {
		t.Errorf("nothing was ended, and yet the log says %q", out.Stderr())
	}
}

// A process that is left and does not write is ended and named. It does not change
// how the command ended.
func TestLeftoverProcessesAreEndedAndNamed(t *testing.T) {
	for _, tt := range []struct {
		name, run, ended string
		grace, timeout   time.Duration
		least, most      time.Duration // of the attempt
	}{
		{name: "a daemon without the output goes at once", run: "setsid sleep 300 >/dev/null 2>&1 </dev/null & sleep 0.1", grace: time.Hour, ended: `sleep \(pid \d+\)`, most: time.Minute},
		{name: "a silent one that holds the output goes after a second", run: "sleep 300 & :", grace: time.Hour, ended: `sleep \(pid \d+\)`, least: time.Second, most: time.Minute},
		{name: "one that goes on writing goes when the grace is over", run: "(while :; do echo tick; sleep 0.1; done) & sleep 0.2", grace: 2 * time.Second, ended: `sh \(pid \d+\)`, least: 2 * time.Second, most: time.Minute},
		{name: "one that has cleared its environment and left its session, too", run: "env -i setsid sh -c 'while :; do echo tick; sleep 0.1; done' & sleep 0.2", grace: 2 * time.Second, ended: `sh \(pid \d+\)`, least: 2 * time.Second, most: time.Minute},
		{name: "none holds its attempt past the timeout", run: "(while :; do echo tick; sleep 0.1; done) & sleep 0.2", grace: time.Hour, timeout: 3 * time.Second, ended: `sh \(pid \d+\)`, least: 2 * time.Second, most: time.Minute},
		{name: "one that ignores TERM is killed", run: "(trap '' TERM; while :; do sleep 300; done) & sleep 0.2", grace: time.Hour, ended: `sh \(pid \d+\)`, least: time.Second, most: time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			job := script(tt.run)
			job.Grace, job.Timeout = tt.grace, tt.timeout
			e, out := execute(t, job)
			if e.Status != report.AttemptSucceeded || len(e.Warnings) > 0 {
				t.Errorf("ended %s, %q, warnings %q", e.Status, e.Error, e.Warnings)
			}
			if took := e.Finished.Sub(e.Started); took < tt.least || took > tt.most {
				t.Errorf("it took %v, want %v to %v", took, tt.least, tt.most)
			}
			want := regexp.MustCompile(`(?m)^modpipe: ended (a process|\d+ processes) that the command left behind: .*` + tt.ended)
			if !want.MatchString(out.Stderr()) {
				t.Errorf("the log says %q, want %s", out.Stderr(), want)
			}
		})
	}
}

// A process that is left is ended by TERM first, and may write its last words.
func TestLeftoverHasTheChanceToFinish(t *testing.T) {
	job := script(`sh -c 'trap "echo last word; exit" TERM; echo up; while :; do sleep 0.05; done' & sleep 0.3`)
	job.Grace = time.Hour
	_, out := execute(t, job)
	if !strings.HasSuffix(out.Stdout(), "last word\n") {
		t.Errorf("its output is %q", out.Stdout())
	}
}
