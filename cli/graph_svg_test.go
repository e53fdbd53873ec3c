package cli_test

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/cli"
)

// wellFormed reports how many elements of each name an XML text has.
func wellFormed(t *testing.T, text string) map[string]int {
	t.Helper()
	count := map[string]int{}
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return count
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok {
			count[e.Name.Local]++
		}
	}
}

// TestGraphPicture: a pipeline that has never run.
func TestGraphPicture(t *testing.T) {
	p := newProgram(t, cli.Orchestrator)
	p.write(t, "ci.yaml", ciFile)
	code, svg, stderr := p.exec(t, "graph", "ci.yaml", "-o", "svg")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	golden(t, "graph.svg", svg)
	if n := wellFormed(t, svg); n["title"] != 6 { // the picture's, and one of each box
		t.Errorf("%d titles", n["title"])
	}
}

var measured = regexp.MustCompile(`[0-9]+\.[0-9]s`)

// TestGraphOfRun: how a run ended, in words, with its critical path, and later
// the estimates from it.
func TestGraphOfRun(t *testing.T) {
	p := newProgram(t, cli.Orchestrator)
	p.write(t, "ci.yaml", ciFile)
	if code, _, stderr := p.exec(t, "run", "ci.yaml", "--run-id", "one", "--progress", "quiet"); code != 0 {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	code, svg, stderr := p.exec(t, "graph", "ci.yaml", "-o", "svg", "--run", "latest")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	wellFormed(t, svg)
	wantAll(t, measured.ReplaceAllString(svg, "1s"), "ci, run one: succeeded in 1s", "shard=a", "succeeded · 1s", "ignored failure · may fail",
		"critical path: 1s = ", "link critical", "link optional", "prefers-color-scheme")
	code, page, stderr := p.exec(t, "graph", "ci.yaml", "-o", "html", "--run", "one")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	wantAll(t, measured.ReplaceAllString(page, "1s"), "<h2>Critical path: 1s</h2>", "<summary>test: 2 members, 2 succeeded</summary>",
		"generate; build (all 3); lint, if it is there", `<td class="warn">ignored failure</td>`, "on the critical path")
	for _, never := range []string{"<script", "http://www.w3.org/1999", "src=", "href=", "test (…)"} {
		if strings.Contains(page, never) {
			t.Errorf("%q in the page", never)
		}
	}
	_, svg, _ = p.exec(t, "graph", "ci.yaml", "-o", "svg")
	wantAll(t, svg, "critical path, estimated from earlier runs: ")
}

func TestGraphFaults(t *testing.T) {
	p := newProgram(t, cli.Orchestrator)
	p.write(t, "ci.yaml", ciFile)
	p.write(t, "other.yaml", "name: other\nmodules: {a: {run: 'true'}}\n")
	if code, _, stderr := p.exec(t, "run", "other.yaml", "--run-id", "one", "--progress", "quiet"); code != 0 {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	for _, c := range []struct {
		code int
		want string
		args string
	}{
		{2, "--run: only -o svg and -o html show a run", "graph ci.yaml --run one"},
		{5, "there is no run two here", "graph ci.yaml -o svg --run two"},
		{5, `run one is one of the pipeline "other", and ci.yaml holds "ci"`, "graph ci.yaml -o html --run one"},
		{2, "dot, mermaid, svg, html", "graph ci.yaml -o png"},
	} {
		code, stdout, stderr := p.exec(t, strings.Fields(c.args)...)
		if code != c.code || stdout != "" {
			t.Errorf("%s: exit code %d, stdout %q", c.args, code, stdout)
		}
		wantAll(t, stderr, c.want)
	}
}
