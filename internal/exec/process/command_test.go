//go:build linux

package process

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/internal/exec/exectest"
	"github.com/modpipe/modpipe/internal/procfs"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

func script(text string) *jobs.Job {
	return &jobs.Job{Command: &jobs.CommandJob{Run: text, Shell: "sh"}}
}

// execute runs a job in a new directory and returns its result and its output.
func execute(t *testing.T, job *jobs.Job, change ...func(*setting)) (exec.Result, *exectest.Output) {
	t.Helper()
	job.Run, job.Name, job.Attempt, job.Pipeline = "r1", "build", 2, "ci"
	c := newSetting(t, job)
	for _, f := range change {
		f(c)
	}
	out := &exectest.Output{}
	return c.run(t, exectest.NewStops(), out), out
}

// setting is what a test chooses for one execution.
type setting struct {
	job     *jobs.Job
	dir     string // the workspace; "" = an empty directory
	environ []string
	allow   []string // of pass-env
	fencing uint64
	needs   map[string]jobs.Need
	guard   *guard
	spares  *spares
}

func newSetting(t *testing.T, job *jobs.Job) *setting {
	t.Helper()
	return &setting{job: job, dir: t.TempDir(), environ: os.Environ()}
}

func (c *setting) executor() *Executor {
	return &Executor{workspace: workspace.New(c.dir), environ: c.environ, allow: allowance{patterns: c.allow}, guard: c.guard, spares: c.spares}
}

func (c *setting) task(stops *exectest.Stops) *exec.Task {
	return &exec.Task{Job: c.job, Needs: c.needs, Worker: "w1", Fencing: c.fencing, Stops: stops}
}

func (c *setting) run(t testing.TB, stops *exectest.Stops, out *exectest.Output) exec.Result {
	t.Helper()
	return exec.Run(t.Context(), c.executor(), c.task(stops), out)
}

func TestHowACommandEnds(t *testing.T) {
	for _, tc := range []struct {
		name   string
		job    *jobs.Job
		status report.AttemptStatus
		code   int // -1: none
		text   string
	}{
		{"success", script("true"), report.AttemptSucceeded, 0, ""},
		{"exit code", script("exit 3"), report.AttemptFailed, 3, "exit code 3"},
		{"the first failing line ends a script", script("false; exit 4"), report.AttemptFailed, 1, "exit code 1"},
		{"an unset variable ends a script", script(`echo "$NOT_THERE"`), report.AttemptFailed, 2, "exit code 2"},
		{"killed by others", script("kill -KILL $$"), report.AttemptFailed, 137, "exit code 137: killed by SIGKILL — out of memory?"},
		{"crash", script("kill -SEGV $$"), report.AttemptFailed, 139, "exit code 139: killed by SIGSEGV"},
		{"bash ends at a failing pipe", &jobs.Job{Command: &jobs.CommandJob{Run: "false | true", Shell: "bash"}}, report.AttemptFailed, 1, "exit code 1"},
		{"python", &jobs.Job{Command: &jobs.CommandJob{Run: "import sys; sys.exit(7)", Shell: "python"}}, report.AttemptFailed, 7, "exit code 7"},
		{"words without a shell", &jobs.Job{Command: &jobs.CommandJob{Args: []string{"test", "a b", "=", "a b"}}}, report.AttemptSucceeded, 0, ""},
		{"unknown shell", &jobs.Job{Command: &jobs.CommandJob{Run: "x", Shell: "fish"}}, report.AttemptFailed, -1, "unknown shell"},
		{"no command", &jobs.Job{}, report.AttemptFailed, -1, "newer version"},
		{"a Go function", &jobs.Job{Func: &jobs.FuncJob{Name: "f"}}, report.AttemptFailed, -1, `Go function "f"`},
		{"not found", &jobs.Job{Command: &jobs.CommandJob{Args: []string{"no-such-tool"}}}, report.AttemptFailed, -1, `cannot start "no-such-tool": not found on PATH, which was "`},
		{"path not found", &jobs.Job{Command: &jobs.CommandJob{Args: []string{"./missing.sh"}}}, report.AttemptFailed, -1, "missing.sh does not exist"},
		{"no format", &jobs.Job{Command: &jobs.CommandJob{Run: "printf '\\177bad' >x; chmod +x x; ./x"}}, report.AttemptFailed, -2, ""},
		{"dir does not exist", &jobs.Job{Command: &jobs.CommandJob{Run: "true", Dir: "sub"}}, report.AttemptFailed, -1, `dir "sub" does not exist in the workspace`},
		{"dir leads out", &jobs.Job{Command: &jobs.CommandJob{Run: "true", Dir: "../x"}}, report.AttemptFailed, -1, `dir "../x" leads out of the workspace`},
		{"bad output line", script(`echo a=1 >>"$MODPIPE_OUTPUT"; echo nonsense >>"$MODPIPE_OUTPUT"`), report.AttemptFailed, 0, `$MODPIPE_OUTPUT line 2: "nonsense" is neither`},
		{"outputs replaced by a pipe", script(`rm "$MODPIPE_OUTPUT"; mkfifo "$MODPIPE_OUTPUT"`), report.AttemptFailed, 0, "not a regular file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, out := execute(t, tc.job)
			if e.Status != tc.status || !strings.Contains(e.Error, tc.text) || (tc.text == "" && tc.status == report.AttemptSucceeded && e.Error != "") {
				t.Errorf("ended %s, %q; want %s, %q (stderr %q)", e.Status, e.Error, tc.status, tc.text, out.Stderr())
			}
			switch {
			case tc.code == -1 && (e.ExitCode != nil || !e.Started.IsZero()):
				t.Errorf("nothing started, and yet exit code %v, start %v", e.ExitCode, e.Started)
			case tc.code >= 0 && (e.ExitCode == nil || *e.ExitCode != tc.code):
				t.Errorf("exit code %v, want %d", e.ExitCode, tc.code)
			}
			if e.Finished.IsZero() {
				t.Error("no time of its end")
			}
		})
	}
}

// TestCommandWithoutARequiredVariableDoesNotStart: not with an empty one either.
func TestCommandWithoutARequiredVariableDoesNotStart(t *testing.T) {
	for value, ok := range map[string]bool{"X=1": true, "X=": false, "Y=1": false} {
		job := script("echo ran")
		job.Command.PassEnv, job.Command.RequiredEnv = []string{"X"}, []string{"X"}
		e, out := execute(t, job, func(c *setting) {
			c.environ = []string{"PATH=" + os.Getenv("PATH"), value}
			c.allow = []string{"X"}
		})
		if started := out.Stdout() == "ran\n"; started != ok || ok != (e.Status == report.AttemptSucceeded) {
			t.Errorf("%s: started %t, %s: %s", value, started, e.Status, e.Error)
		}
		if !ok && !strings.Contains(e.Error, "pass-env: worker w1 allows X, and has no value for it") {
			t.Errorf("%s: %q", value, e.Error)
		}
	}
}

func TestEnvironmentOfACommand(t *testing.T) {
	job := script(`env; echo "pwd=$(pwd)"`)
	job.Matrix = []pipeline.Coordinate{{Axis: "go-version", Value: "1.26"}}
	job.Trace = "00-1-2-01"
	job.Command.PassEnv = []string{"SECRET_*", "OTHER", "MODPIPE_WORKER_TAGS"}
	job.Command.Env = []pipeline.KeyValue{{Key: "A", Value: "1"}, {Key: "B", Value: "x=y z"}, {Key: "A", Value: "2"}, {Key: "MODPIPE_RUN_ID", Value: "forged"}}
	var ws string
	e, out := execute(t, job, func(c *setting) {
		c.environ = []string{"PATH=" + os.Getenv("PATH"), "HOME=/h", "USER=u", "LC_ALL=C", "TZ=UTC", "SECRET_A=1", "OTHER=2", "NOBODY=3", "MODPIPE_WORKER_TAGS=x"}
		c.allow = []string{"SECRET_*"}
		ws = c.dir
	})
	if e.Status != report.AttemptSucceeded {
		t.Fatal(e.Error, out.Stderr())
	}
	got := map[string]string{}
	for line := range strings.Lines(out.Stdout()) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		got[k] = v
	}
	for _, private := range []string{"TMPDIR", "MODPIPE_OUTPUT", "MODPIPE_NEEDS"} {
		if _, err := os.Stat(got[private]); got[private] == "" || !os.IsNotExist(err) {
			t.Errorf("%s=%q: want a path that is gone afterwards (%v)", private, got[private], err)
		}
		delete(got, private)
	}
	delete(got, "PWD") // the shell's own
	delete(got, "_")
	want := map[string]string{
		"CI": "true", "PATH": os.Getenv("PATH"), "HOME": "/h", "USER": "u", "LC_ALL": "C", "TZ": "UTC", "TRACEPARENT": "00-1-2-01",
		"SECRET_A": "1", "A": "2", "B": "x=y z", "pwd": ws,
		"MODPIPE_RUN_ID": "r1", "MODPIPE_PIPELINE": "ci", "MODPIPE_MODULE": "build", "MODPIPE_ATTEMPT": "2", "MODPIPE_WORKER": "w1",
		"MODPIPE_WORKSPACE": ws, "MODPIPE_FENCING_TOKEN": "", "MODPIPE_MATRIX_GO_VERSION": "1.26",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], "does not allow OTHER") {
		t.Errorf("warnings %q", e.Warnings)
	}
}

func TestKeyedCommandFindsItsFencingToken(t *testing.T) {
	job := script(`echo "$MODPIPE_FENCING_TOKEN"`)
	job.Keyed = true
	_, out := execute(t, job, func(c *setting) { c.fencing = 42 })
	if out.Stdout() != "42\n" {
		t.Errorf("token %q", out.Stdout())
	}
}

func TestArgumentsTooLongForTheSystem(t *testing.T) {
	long := strings.Repeat("x", 128<<10)
	job := script("true")
	job.Command.Env = []pipeline.KeyValue{{Key: "BIG", Value: long}}
	if e, _ := execute(t, job); e.Status != report.AttemptFailed || !strings.Contains(e.Error, "BIG") || !strings.Contains(e.Error, "128 KiB") || !strings.Contains(e.Error, "stdin") {
		t.Errorf("environment: %q", e.Error)
	}
	if e, _ := execute(t, &jobs.Job{Command: &jobs.CommandJob{Args: []string{"echo", long}}}); !strings.Contains(e.Error, "stdin") {
		t.Errorf("words: %q", e.Error)
	}
	e, out := execute(t, script("# "+long+"\necho done"))
	if e.Status != report.AttemptSucceeded || out.Stdout() != "done\n" {
		t.Errorf("a long script: %s %q", e.Status, e.Error)
	}
}

func TestStdinTakesAnySize(t *testing.T) {
	job := &jobs.Job{Command: &jobs.CommandJob{Args: []string{"wc", "-c"}, Stdin: strings.Repeat("y", 3<<20)}}
	if e, out := execute(t, job); e.Status != report.AttemptSucceeded || strings.TrimSpace(out.Stdout()) != strconv.Itoa(3<<20) {
		t.Errorf("%s: %q", e.Status, out.Stdout())
	}
	if e, out := execute(t, &jobs.Job{Command: &jobs.CommandJob{Args: []string{"wc", "-c"}}}); strings.TrimSpace(out.Stdout()) != "0" {
		t.Errorf("without stdin: %s %q", e.Status, out.Stdout())
	}
	job = script("true") // does not read it
	job.Command.Stdin = strings.Repeat("y", 3<<20)
	if e, _ := execute(t, job); e.Status != report.AttemptSucceeded {
		t.Error(e.Error)
	}
}

func TestOutputsAreKeptOfWhatFailed(t *testing.T) {
	e, _ := execute(t, script(`printf 'a=1\nb<<X\nl1\n\nl2\nX\na=3\n' >>"$MODPIPE_OUTPUT"; exit 9`))
	if d := cmp.Diff(map[string]string{"a": "3", "b": "l1\n\nl2"}, e.Outputs); d != "" || e.Error != "exit code 9" {
		t.Error(e.Error, d)
	}
}

func TestWorkspaces(t *testing.T) {
	job := script(`mkdir -p "$MODPIPE_WORKSPACE/a/b" "$TMPDIR/c" && touch a/b/f && chmod 500 a/b a "$TMPDIR/c" && echo "$MODPIPE_WORKSPACE"`)
	e, out := execute(t, job, func(c *setting) { c.dir = "" })
	fresh := strings.TrimSpace(out.Stdout())
	if _, err := os.Stat(filepath.Dir(fresh)); e.Status != report.AttemptSucceeded || fresh == "" || !os.IsNotExist(err) {
		t.Errorf("a fresh workspace, %q, is still there: %v, %q", fresh, err, e.Error)
	}
}

// alive reports whether a process exists and has not ended.
func alive(pid int) bool {
	st, ok := procfs.StatOf(pid)
	return ok && !st.Dead
}

// outlives reports whether a process was not killed. A killed one may need a moment
// to end.
func outlives(pid int) bool {
	for limit := time.Now().Add(time.Minute); alive(pid); {
		if time.Now().After(limit) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			return true
		}
		<-time.After(time.Millisecond)
	}
	return false
}

// untilUp has a script wait for a process that it has started.
const untilUp = `until [ -e up ]; do sleep 0.01; done`

func TestAttemptEndsWhenItsProcessesAreGone(t *testing.T) {
	for name, text := range map[string]string{
		"child":                      `sleep 300 & echo $!`,
		"child with closed streams":  `sleep 300 >/dev/null 2>&1 & echo $! `,
		"daemon":                     `setsid sh -c 'echo $$; touch up; exec sleep 300' & ` + untilUp,
		"daemon with closed streams": `setsid sh -c 'echo $$; touch up; exec sleep 300 >/dev/null 2>&1 </dev/null' & ` + untilUp,
		"job with a group":           `bash -c 'set -m; sleep 300 & echo $!'`,
		"leader in the foreground":   `echo $$; (trap "" TERM; sleep 300) & exit 0`,
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			e, out := execute(t, script(text))
			if e.Status != report.AttemptSucceeded || time.Since(began) > 2*time.Minute || len(e.Warnings) > 0 {
				t.Errorf("%s %q after %v, warnings %q", e.Status, e.Error, time.Since(began), e.Warnings)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(out.Stdout()))
			if err != nil {
				t.Fatal(err, out.Stderr())
			}
			if outlives(pid) {
				t.Errorf("process %d outlives the attempt", pid)
			}
		})
	}
}

// A process that is in an exec shows no environment to be recognised by. This daemon
// always is in one.
func TestProcessInAnExecIsFound(t *testing.T) {
	for range 50 {
		_, out := execute(t, script(`printf '%s\n' '[ -e up ] || touch up' 'exec sh "$0"' >again; setsid sh -c 'echo $$; exec sh ./again' & `+untilUp))
		pid, err := strconv.Atoi(strings.TrimSpace(out.Stdout()))
		if err != nil {
			t.Fatal(err, out.Stderr())
		}
		if outlives(pid) {
			t.Fatalf("process %d outlives the attempt", pid)
		}
	}
}

// within lists the live processes whose working directory is dir.
func within(dir string) (pids []int) {
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range links {
		if at, err := os.Readlink(link); err != nil || at != dir {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil && alive(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Each process starts the next one and ends, so that none lives for as long as a scan
// of all processes takes.
func TestProcessesThatSucceedEachOther(t *testing.T) {
	for range 10 {
		var dir string
		execute(t, script(`printf '%s\n' 'touch up' '[ $1 -gt 60 ] && exec sleep 300' 'sh "$0" $(($1+1)) & exit' >next; setsid sh ./next 0 & `+untilUp),
			func(c *setting) { dir = c.dir })
		for range 30 {
			for _, pid := range within(dir) {
				if outlives(pid) {
					t.Fatalf("process %d outlives the attempt", pid)
				}
			}
		}
	}
}

func TestEscapedProcessDoesNotHoldTheAttempt(t *testing.T) {
	e, out := execute(t, script(`env -i setsid sh -c 'echo $$; /bin/touch up; exec /bin/sleep 300' & `+untilUp))
	pid, err := strconv.Atoi(strings.TrimSpace(out.Stdout()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
	if alive(pid) && (len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], "not waited for")) {
		t.Errorf("warnings %q", e.Warnings)
	}
}

func TestTimeouts(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		byDefault  bool
		grace      time.Duration
		want, said string
		code       int
	}{
		{"heeds TERM", `trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01 || :; done`, false, time.Minute, "", "bye\n", 0},
		{"does not heed TERM", `trap '' TERM; echo up; while :; do sleep 0.01 || :; done`, true, 50 * time.Millisecond, ", the default: `timeout` sets another limit", "", 137},
		{"no grace", `trap '' TERM; echo up; while :; do sleep 0.01 || :; done`, false, 0, "", "", 137},
		{"a child heeds TERM later than its parent", `(trap 'sleep 0.1; echo late; exit' TERM; echo up; while :; do sleep 0.01 || :; done) & wait`, false, time.Minute, "", "late\n", 143},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for timeout := 100 * time.Millisecond; ; timeout *= 2 {
				job := script(tc.text)
				job.Timeout, job.Grace, job.DefaultTimeout = timeout, tc.grace, tc.byDefault
				e, out := execute(t, job)
				if len(out.Stdout()) == 0 && timeout < time.Minute {
					continue // it had no time to be ready
				}
				if want := "timed out after " + jobs.ShortDuration(timeout) + tc.want; e.Status != report.AttemptTimedOut || e.Error != want || *e.ExitCode != tc.code {
					t.Errorf("%s %q code %d; want %q, %d", e.Status, e.Error, *e.ExitCode, want, tc.code)
				}
				if got := out.Stdout(); got != "up\n"+tc.said {
					t.Errorf("it said %q", got)
				}
				return
			}
		})
	}
	if got := jobs.ShortDuration(6 * time.Hour); got != "6h" {
		t.Error(got)
	}
}

func TestStops(t *testing.T) {
	for _, tc := range []struct {
		name   string
		asks   []exec.Stop // one after another, each after a line of output
		status report.AttemptStatus
		code   int
	}{
		{"cancelled", []exec.Stop{{Status: report.AttemptCancelled, Grace: time.Minute}}, report.AttemptCancelled, 5},
		{"killed immediately", []exec.Stop{{Status: report.AttemptLost}}, report.AttemptLost, 137},
		{"killed during the grace", []exec.Stop{{Status: report.AttemptCancelled, Grace: time.Hour}, {Status: report.AttemptHandedBack}}, report.AttemptCancelled, 137},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ignore := "exit 5"
			if len(tc.asks) > 1 {
				ignore = "echo term"
			}
			job := script(`trap '` + ignore + `' TERM; echo up; while :; do sleep 0.01 || :; done`)
			job.Run = "r"
			stops := exectest.NewStops()
			out := &exectest.Output{}
			out.Grown = func(all string) {
				if n := strings.Count(all, "\n"); n <= len(tc.asks) {
					stops.Ask(tc.asks[n-1])
				}
			}
			e := newSetting(t, job).run(t, stops, out)
			if e.Status != tc.status || *e.ExitCode != tc.code {
				t.Errorf("%s %d; want %s %d", e.Status, *e.ExitCode, tc.status, tc.code)
			}
		})
	}
	stops := exectest.NewStops()
	stops.Ask(exec.Stop{Status: report.AttemptCancelled, Text: "too early"})
	out := &exectest.Output{}
	if e := newSetting(t, script("echo no")).run(t, stops, out); e.Status != report.AttemptCancelled || !e.Started.IsZero() || len(out.Stdout()) > 0 {
		t.Errorf("asked before the start: %+v", e)
	}
}

func TestNeeds(t *testing.T) {
	needs := map[string]jobs.Need{
		"build": {Status: "succeeded", Outputs: jobs.OutputsOf(map[string]string{"v": "<1>"})},
		"none":  {Status: "skipped"},
		"empty": {Status: "skipped", Family: true},
		"test": {Status: "succeeded", Members: []jobs.Member{{
			Matrix: []pipeline.Coordinate{{Axis: "os", Value: "linux"}}, Status: "succeeded", Outputs: jobs.OutputsOf(map[string]string{"n": "1"}),
		}}},
	}
	want := `{"build":{"status":"succeeded","outputs":{"v":"<1>"}},"empty":{"status":"skipped","members":[]},"none":{"status":"skipped","outputs":{}},` +
		`"test":{"status":"succeeded","members":[{"matrix":{"os":"linux"},"status":"succeeded","outputs":{"n":"1"}}]}}` + "\n"
	_, out := execute(t, script(`cat "$MODPIPE_NEEDS"`), func(c *setting) { c.needs = needs })
	if got := out.Stdout(); !json.Valid([]byte(got)) || got != want {
		t.Errorf("the command reads %q\nwant %q", got, want)
	}
	broken := map[string]jobs.Need{"big": {Outputs: jobs.ResultOf([]byte{0xc1})}}
	if _, err := needsJSON(broken); err == nil || !strings.Contains(err.Error(), "outputs of big") {
		t.Error(err)
	}
}

func TestOutputForms(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want map[string]string
		err  string
	}{
		{"", map[string]string{}, ""},
		{"a=1", map[string]string{"a": "1"}, ""},
		{"a=\n\n\nb= x ", map[string]string{"a": "", "b": " x "}, ""},
		{"a=1\r\nb=2\r\n", map[string]string{"a": "1", "b": "2"}, ""},
		{"a=b<<c\n", map[string]string{"a": "b<<c"}, ""},
		{"a<<b=c\nx\nb=c\n", map[string]string{"a": "x"}, ""},
		{"a<<E\nE\n", map[string]string{"a": ""}, ""},
		{"a<<E\n\nE\n", map[string]string{"a": ""}, ""},
		{"a<<E\nx\n\nE", map[string]string{"a": "x\n"}, ""},
		{"a<<E\r\nx\r\ny\r\nE\r\n", map[string]string{"a": "x\ny"}, ""},
		{"\uFEFFa=1\r\nb=2\r", map[string]string{"a": "1", "b": "2"}, ""},
		{"\uFEFFa<<E\r\nx\r\n\r\ny\r\nE\r", map[string]string{"a": "x\n\ny"}, ""},
		{"\uFEFF", map[string]string{}, ""},
		{"a<<E\nE \n EE\nE\nb=1", map[string]string{"a": "E \n EE", "b": "1"}, ""},
		{"a=1\na=2", map[string]string{"a": "2"}, ""},
		{"ok=1\nbad line", map[string]string{"ok": "1"}, "line 2"},
		{"a<<E\nx\ny", map[string]string{}, `line 1: the delimiter "E" does not follow`},
		{"a<<\nx", map[string]string{}, "line 1: no delimiter follows <<"},
		{"=x", map[string]string{}, "no key"},
		{"<<E\nE", map[string]string{}, "no key"},
		{"x=1\n\na=\xff", map[string]string{"x": "1"}, "line 3: the value"},
	} {
		got, err := parseOutputs([]byte(tc.in), nil)
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%q: %s", tc.in, d)
		}
		if (err == nil) != (tc.err == "") || (err != nil && !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%q: error %v, want %q", tc.in, err, tc.err)
		}
	}
}

// Any value survives the heredoc form, and no input panics.
func FuzzOutputs(f *testing.F) {
	f.Add("k", "a\nb", "x=1")
	f.Add("key", "\r\n\nEOF", "b<<Q\nQ")
	f.Fuzz(func(t *testing.T, key, value, noise string) {
		if _, err := parseOutputs([]byte(noise), nil); err != nil && !strings.Contains(err.Error(), "$MODPIPE_OUTPUT line ") {
			t.Fatalf("%q: %v", noise, err)
		}
		const end = "_end_of_value_"
		if key == "" || strings.ContainsAny(key, "=<\n\r") || strings.Contains(value, end) ||
			!utf8.ValidString(key) || !utf8.ValidString(value) {
			return
		}
		got, err := parseOutputs([]byte(key+"<<"+end+"\n"+value+"\n"+end+"\n"), nil)
		if want := strings.TrimSuffix(strings.ReplaceAll(value, "\r\n", "\n"), "\r"); err != nil || got[key] != want {
			t.Fatalf("%q=%q came back as %q, %v", key, value, got[key], err)
		}
	})
}
