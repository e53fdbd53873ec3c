package pipeline_test

import (
	"strings"
	"testing"

	"github.com/modpipe/modpipe/pipeline"
)

const sameSource = `name: p
params:
  channel: {type: string, default: dev}
env: {A: "${{ params.channel }}"}
limits: {l: {max: 2}}
modules:
  list: {run: 'echo x', outputs: [items]}
  each:
    needs: list
    matrix: {item: "${{ fromJSON(needs.list.outputs.items) }}"}
    command: [echo, "${{ matrix.item }}", "${{ needs.list.outputs.items }}"]
    limit: l
  last: {needs: each, if: "needs.each.status == 'succeeded'", command: [echo, '${{ needs.each.status }}']}
`

func bound(t *testing.T, file, src string, params map[string]string) *pipeline.Pipeline {
	t.Helper()
	f, err := pipeline.Parse(file, []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Bind(params, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestSameIgnoresWhereThingsAreWritten: comments, line breaks and the path to
// the file make no other pipeline; everything else does.
func TestSameIgnoresWhereThingsAreWritten(t *testing.T) {
	of := bound(t, "a.yaml", sameSource, nil)
	if !pipeline.Same(of, bound(t, "b/a.yaml", "# moved\n\n"+sameSource, nil)) {
		t.Error("a comment and another path make another pipeline")
	}
	if pipeline.Same(of, bound(t, "a.yaml", sameSource, map[string]string{"channel": "stable"})) {
		t.Error("another parameter makes no other pipeline")
	}
	for old, changed := range map[string]string{
		"name: p":                  "name: q",
		"echo x":                   "echo y",
		"matrix.item }}\"":         "matrix.item }}!\"",
		"== 'succeeded'":           "!= 'succeeded'",
		"command: [echo, '${{":     "command: [echo, ' ${{",
		"max: 2":                   "max: 3",
		"last: {needs: each":       "last: {timeout: 3m, needs: each",
		"last: {needs":             "last2: {needs",
		"run: 'echo x', outputs":   "env: {B: c}, run: 'echo x', outputs",
		"env: {A: \"${{ params.ch": "env: {A2: \"${{ params.ch",
	} {
		other := strings.Replace(sameSource, old, changed, 1)
		if other == sameSource {
			t.Fatalf("%q is not in the source", old)
		}
		if pipeline.Same(of, bound(t, "a.yaml", other, nil)) {
			t.Errorf("%q instead of %q makes no other pipeline", changed, old)
		}
	}
}
