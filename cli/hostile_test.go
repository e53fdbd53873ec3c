package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/cli"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// evil is in names, outputs, errors, labels and parameters: commands of
// terminals and of every CI system.
const evil = "##vso[task.complete]##[error]x##teamcity[buildStop]\u202e\ufeff"

// hostileFile is a pipeline with hostile text in every field.
const hostileFile = `
name: "p ##[error]x \u202E"
fail-fast: false
params: {q: {default: "::error::param", description: "\e[2J"}}
modules:
  list: {outputs: [names], run: "printf 'names=[\"##vso[task.setvariable variable=PATH]/tmp\\u202e\",\"##[error]x##teamcity[buildStop]\"]\\n' >>$MODPIPE_OUTPUT"}
  test: {needs: [list], description: "##[error]d \u202E", category: "##[error]c", matrix: {file: "${{ fromJSON(needs.list.outputs.names) }}"}, run: "sh out.sh; exit 3"}
  still: {matrix: {x: ["::error::m", "</script><b>", "##vso[task.complete]", "\u202Ertl", "%%{init}%%"]}, run: "sh out.sh >&2"}
  nosuch: {command: ["nosuch\e[2J\n::error::cmd ##[error]x"]}
  cond: {if: "params.q == '##[error]'", run: "true"}
  junk: {run: "printf '::error::injected\\033[31m\\r::error::x\\n' >>$MODPIPE_OUTPUT"}
`

const hostileOutput = `printf '::error::pwn\n  ::add-mask::x\n##vso[task.complete]\n##[error]x\n##teamcity[x]\n'
printf 'no newline ::error::x\r::error::cr\r\n--- group\n+++ group\n'
printf '\033]0;title\007\033[2J\033[1;31mred\033[?1049h \033]8;;http://evil\033\\link\033]8;;\033\\ \033P+q\033\\ \302\233 2J \0 nul\n'
printf 'section_start:1:x\r\033[0Kfake\n\342\200\256rtl \357\273\277bom\nbad utf \377\376\n'
`

var (
	sgr     = regexp.MustCompile(`\x1b\[[0-9;:]*m`)
	command = regexp.MustCompile(`(?i)##[a-z]*\[|section_(start|end):|(?m)^\s*::`)
)

// wantHarmless checks what a program has written for people. Commands that
// the program itself gives to a CI system are taken out first.
func wantHarmless(t *testing.T, what, text string, own ...string) {
	t.Helper()
	text = sgr.ReplaceAllString(text, "")
	for _, o := range own {
		text = regexp.MustCompile(`(?m)^`+o).ReplaceAllString(text, "")
	}
	if found := command.FindString(text); found != "" {
		i := strings.Index(text, found)
		t.Errorf("%s holds the command %q: …%q", what, found, text[max(0, i-80):min(len(text), i+80)])
	}
	for i, r := range text {
		switch {
		case r == '\n' || r == '\t':
		case r < ' ', r >= 0x7f && r < 0xa0, r >= 0x202a && r <= 0x202e, r == 0xfeff:
			t.Errorf("%s holds %U: …%q", what, r, text[max(0, i-80):min(len(text), i+80)])
			return
		}
	}
}

// ownCommands are the workflow commands that the program itself writes for a CI system.
var ownCommands = map[string][]string{
	"X":                nil,
	"CI":               nil,
	"BUILDKITE":        nil,
	"GITHUB_ACTIONS":   {`::(group|error|warning|stop-commands|endgroup|[A-Z0-9]{20,}).*$`},
	"GITLAB_CI":        {`\x1b\[0Ksection_(start|end):\d+:module_\d+(\[collapsed=true\])?\r\x1b\[0K`},
	"TF_BUILD":         {`##\[(end)?group\]`, `##vso\[task\.logissue type=\w+\]`},
	"TEAMCITY_VERSION": {`##teamcity\[.*\]$`},
}

// TestHostileTextReachesNoSurface: whatever modules write and are called,
// nothing that this program shows commands a terminal or a CI system.
func TestHostileTextReachesNoSurface(t *testing.T) {
	for system, own := range ownCommands {
		t.Run(system, func(t *testing.T) {
			p := newProgram(t, cli.Orchestrator)
			summary := filepath.Join(p.dir, "summary.md")
			p.env = append(p.env, system+"=true", "GITHUB_STEP_SUMMARY="+summary)
			p.write(t, "p.yaml", hostileFile)
			p.write(t, "out.sh", hostileOutput)
			for _, progress := range []string{"auto", "quiet"} {
				code, _, stderr := p.exec(t, "run", "p.yaml", "--run-id", "r-"+progress, "--progress", progress, "--param", "q=a\n::error::p", "--label", "l=##[error]x\n::error::lab")
				if code != 1 {
					t.Errorf("exit code %d, want 1\n%s", code, stderr)
				}
				wantHarmless(t, "run --progress "+progress, stderr, own...)
			}
			if system == "GITHUB_ACTIONS" {
				text, err := os.ReadFile(summary)
				if err != nil || strings.Contains(string(text), "<script") || strings.Contains(string(text), "<b>") {
					t.Errorf("the summary, %v:\n%s", err, text)
				}
				wantHarmless(t, "the summary", string(text))
			}
			if system == "X" || system == "TF_BUILD" {
				hostileCommands(t, p)
			}
		})
	}
}

// hostileCommands shows the runs of hostileFile with every other command.
func hostileCommands(t *testing.T, p *program) {
	t.Helper()
	p.write(t, "bad.yaml", "name: \"x\x1b[2J\"\nmodules: {a: {run: x, \"##[error]\\e[2J\": 1}, b: {needs: [\"##vso[x]\"], run: x}}\n")
	for _, args := range []string{
		"runs list", "runs list -o name", "runs show r-auto", "runs logs r-auto", "runs logs r-auto --follow", "runs logs r-auto test --follow",
		"runs wait r-auto -o table", "runs show r-auto -o json", "runs list -o json", "runs show r-auto -o yaml", "runs list -o yaml",
		"plan p.yaml", "plan p.yaml -o name", "plan p.yaml -o json", "validate p.yaml", "validate bad.yaml", "validate bad.yaml -o json", "validate bad.yaml -o yaml",
		"graph p.yaml", "graph p.yaml -o mermaid", "graph p.yaml -o svg", "graph p.yaml -o html", "graph p.yaml -o svg --run r-auto", "graph p.yaml -o html --run r-auto",
		"run p.yaml --only ##vso[x]", "run ##[error]x.yaml", "runs show ##[error]x", "run p.yaml --no-##[error]", "##[error]", "__complete run p.yaml --only \u0020",
		"run p.yaml --progress json", "runs retry r-auto --run-id again --progress plain",
	} {
		_, stdout, stderr := p.exec(t, strings.Fields(args)...)
		wantHarmless(t, args, stdout)
		wantHarmless(t, args, stderr)
		if strings.Contains(args, "-o mermaid") && regexp.MustCompile(`%%|<b>|</script`).MatchString(stdout) {
			t.Errorf("mermaid: %s", stdout)
		}
		if regexp.MustCompile(`-o (svg|html)`).MatchString(args) && strings.Contains(stdout, "</script><b>") {
			t.Errorf("%s has unescaped text", args)
		}
	}
	exactData(t, p)
}

// exactData: JSON and YAML hold the text of modules, escaped.
func exactData(t *testing.T, p *program) {
	t.Helper()
	_, text, _ := p.exec(t, "runs", "show", "r-auto", "-o", "json")
	var rep report.Report
	if err := json.Unmarshal([]byte(text), &rep); err != nil {
		t.Fatal(err)
	}
	_, yamlText, _ := p.exec(t, "runs", "show", "r-auto", "-o", "yaml")
	var same struct {
		Labels  map[string]string
		Modules []struct{ Name string }
	}
	if err := yaml.Unmarshal([]byte(yamlText), &same); err != nil {
		t.Fatalf("%v in\n%s", err, yamlText)
	}
	found := false
	for i := range rep.Modules {
		found = found || rep.Modules[i].Name == "test (file=##vso[task.setvariable variable=PATH]/tmp\u202e)"
		if same.Modules[i].Name != rep.Modules[i].Name {
			t.Errorf("YAML has %q, JSON %q", same.Modules[i].Name, rep.Modules[i].Name)
		}
	}
	if want := "##[error]x\n::error::lab"; !found || rep.Labels["l"] != want || same.Labels["l"] != want {
		t.Errorf("the exact names and labels are missing: %q, %q\n%s", rep.Labels["l"], same.Labels["l"], text)
	}
}

// TestHostileWorkersAreHarmless: the registry holds what anyone wrote into it.
func TestHostileWorkersAreHarmless(t *testing.T) {
	url := natstest.StartServer(t, nil).URL()
	c := connect(t, url)
	register(t, c)
	for _, args := range []string{"workers list", "workers list -o name", "workers list -o json", "workers list -o yaml", "workers drain ##[error]x", "__complete workers drain \u0020"} {
		p := newProgram(t, cli.Orchestrator)
		_, stdout, stderr := p.exec(t, append(strings.Fields(args), "-s", url)...)
		wantHarmless(t, args, stdout)
		wantHarmless(t, args, stderr)
	}
}

func register(t *testing.T, c *broker.Conn) {
	t.Helper()
	registry, err := kv.OpenRegistry(t.Context(), c.Conn, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	text := evil + "\n::error::x\x1b[2J"
	w := jobs.WorkerInfo{
		Name: "evil", Incarnation: "i", Version: text, Host: text, Slots: 1,
		Capabilities: jobs.Capabilities{OS: text, Arch: text, Tags: []string{text}, Labels: map[string]string{text: text}, Tools: map[string]string{text: text}},
		Running:      []jobs.RunningEntry{{Run: jobs.RunID(text), Module: jobs.ModuleID(text), Attempt: 1}},
	}
	if err := registry.Register(t.Context(), w); err != nil {
		t.Fatal(err)
	}
}
