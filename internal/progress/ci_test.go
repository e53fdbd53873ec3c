package progress

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/golden"
)

// ciHistory is a run whose modules write commands of the CI.
func ciHistory() ([]report.Event, *report.Report) {
	events, rep := history()
	at := func(s float64, e report.Event) report.Event {
		e.Time, e.Run = start.Add(time.Duration(s*float64(time.Second))), "r1"
		return e
	}
	var more []report.Event
	for i, m := range []struct{ name, status, why string }{
		{"deploy (zone=eu, mode=a:b)", "failed", "100% wrong:\nline two"},
		{"lint", "ignored_failure", "exit code 2"},
		{"docs|'[x]'", "succeeded", ""},
		{"silent", "succeeded", ""},
		{"stopped", "cancelled", "the run was cancelled"},
	} {
		more = append(more, at(5+float64(i), report.Event{Event: report.EventModuleStarted, Module: m.name, Attempt: 1, Worker: "w1"}))
		if m.name != "silent" {
			for _, text := range []string{
				"::error::not mine", "##vso[task.complete result=Succeeded]", "##[group]mine", "##teamcity[buildStop]",
				"\x1b[0Ksection_end:1:module_1\r\x1b[0K", "plain\r",
			} {
				more = append(more, at(6, report.Event{Event: report.EventModuleOutput, Module: m.name, Attempt: 1, Stream: "stdout", Text: text}))
			}
		}
		more = append(more, at(10+float64(i), report.Event{
			Event: report.EventModuleEnded, Module: m.name, Attempt: 1, Worker: "w1", Status: m.status, Error: m.why, Duration: new(5.0),
		}))
	}
	last := len(events) - 1
	rep.Modules = append(rep.Modules, report.Module{Name: "a|b <c> `d` @e", Status: "failed", Error: "it | broke\nfor good"})
	return append(append(events[:last:last], more...), events[last]), rep
}

// TestCIFoldsModulesExceptFailures also checks that the CI finds no commands in the
// output of modules.
func TestCIFoldsModulesExceptFailures(t *testing.T) {
	for name, system := range map[string]ciSystem{
		"github": githubCI("TOKEN"), "gitlab": gitlabCI(), "azure": azureCI(), "teamcity": teamcityCI(),
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			p := newCIProgress(&b, false, system)
			events, rep := ciHistory()
			if name == "github" {
				p.summary = filepath.Join(t.TempDir(), "summary.md")
				if err := os.WriteFile(p.summary, []byte("of the step before\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, e := range events {
				p.Event(e)
			}
			p.End(rep)
			p.Close()
			golden.Compare(t, "ci_"+name+".txt", b.String())
			if name == "github" {
				text, err := os.ReadFile(p.summary)
				if err != nil {
					t.Fatal(err)
				}
				golden.Compare(t, "ci_summary.md", string(text))
			}
		})
	}
}

// TestCIShowsLongOutputWhole checks output that waits in a temporary file, also that of
// modules that never end. The file is removed afterwards.
func TestCIShowsLongOutputWhole(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var b bytes.Buffer
	p := newCIProgress(&b, false, gitlabCI())
	line := strings.Repeat("x", 1000)
	for n := range 3000 {
		for _, module := range []string{"ends", "hangs"} {
			p.Event(report.Event{Event: report.EventModuleOutput, Module: module, Time: start, Text: fmt.Sprintf("%s %d %s", module, n, line)})
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 2 {
		t.Errorf("%d files hold what is too much to remember", len(files))
	}
	if n := p.spools["ends"].memory.Len(); n > 2*spoolAbove {
		t.Errorf("%d bytes are remembered", n)
	}
	p.Event(report.Event{Event: report.EventModuleEnded, Module: "ends", Time: start, Status: "succeeded"})
	p.Close()
	text := b.String()
	for _, module := range []string{"ends", "hangs"} {
		at := 0
		for n := range 3000 {
			i := strings.Index(text[at:], fmt.Sprintf("%s %d %s\n", module, n, line))
			if i < 0 {
				t.Fatalf("line %d of %s is missing", n, module)
			}
			at += i
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("%d files are left", len(files))
	}
}

// TestCISummaryIsBounded uses the limit of GitHub, 1 MiB.
func TestCISummaryIsBounded(t *testing.T) {
	r := &report.Report{Run: "r1", Status: report.RunFailed}
	for i := range 20_000 {
		r.Modules = append(r.Modules, report.Module{Name: fmt.Sprintf("module-%d", i), Status: "failed", Error: strings.Repeat("|", 100)})
	}
	text := stepSummary(r, newTails())
	if len(text) > 1<<20 || !strings.Contains(text, "more rows") {
		t.Errorf("%d bytes", len(text))
	}
}

func TestAutoProgressDependsOnTerminalAndCI(t *testing.T) {
	for name, c := range map[string]struct {
		env  []string
		flag string
		want string
	}{
		"nowhere":          {want: "*progress.plainProgress"},
		"GitHub":           {env: []string{"GITHUB_ACTIONS=true"}, want: "*progress.ciProgress"},
		"GitLab":           {env: []string{"GITLAB_CI=true"}, want: "*progress.ciProgress"},
		"Azure":            {env: []string{"TF_BUILD=True"}, want: "*progress.ciProgress"},
		"TeamCity":         {env: []string{"TEAMCITY_VERSION=2026.1"}, want: "*progress.ciProgress"},
		"another CI":       {env: []string{"CI=true"}, want: "*progress.plainProgress"},
		"asked for plain":  {env: []string{"GITHUB_ACTIONS=true"}, flag: "plain", want: "*progress.plainProgress"},
		"asked for a view": {flag: "tty", want: "*progress.plainProgress"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := Config{Format: cmp.Or(c.flag, "auto"), Out: &bytes.Buffer{}, Env: settings.NewEnvironment(c.env)}
			if got := fmt.Sprintf("%T", New(asked, nil)); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}
