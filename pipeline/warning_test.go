package pipeline

import (
	"strings"
	"testing"
)

func TestComparisonWithWhatIsNoOptionIsDoubted(t *testing.T) {
	for _, tc := range []struct{ expr, want string }{
		{"params.channel == 'prod'", ""},
		{"params.channel == 'Prod'", `no option of parameter channel is "Prod"; write "prod": comparisons regard case`},
		{"'Prod' != params.channel", `no option of parameter channel is "Prod"; write "prod": comparisons regard case`},
		{"params['channel'] == 'pord'", `no option of parameter channel is "pord"; did you mean "prod"?`},
		{"params.channel == 'nightly'", `no option of parameter channel is "nightly"; options: dev, prod`},
		{"params.channel in ['dev', 'PROD']", `no option of parameter channel is "PROD"; write "prod": comparisons regard case`},
		{"!(true && params.channel == 'DEV')", `no option of parameter channel is "DEV"; write "dev": comparisons regard case`},
		{"lower(params.channel) == 'Prod'", ""},
		{"params.other == 'Prod'", ""},
		{"params.channel == params.other", ""},
	} {
		src := "name: x\nparams:\n  other: {}\n  channel: {type: choice, options: [dev, prod]}\nmodules:\n  a:\n    if: \"" + tc.expr + "\"\n    run: 'true'\n"
		f, err := Parse("p.yaml", []byte(src))
		if err != nil {
			t.Errorf("%s: %v", tc.expr, err)
			continue
		}
		p, err := f.Bind(nil, nil)
		if err != nil {
			t.Errorf("%s: %v", tc.expr, err)
			continue
		}
		got := ""
		for _, w := range p.Warnings {
			got += w.Text + "; " + w.Suggestion
			if w.Line != 7 || !strings.Contains(w.Excerpt, "^") {
				t.Errorf("%s: at %d:%d: %s", tc.expr, w.Line, w.Column, w.Excerpt)
			}
		}
		if got != tc.want {
			t.Errorf("%s: warns %q, want %q", tc.expr, got, tc.want)
		}
	}
}

func TestWarningOfManyMembersIsGivenOnce(t *testing.T) {
	f, err := Parse("p.yaml", []byte(`
name: x
params: {channel: {type: choice, options: [dev, prod]}}
defaults: {env: {KIND: "${{ params.channel == 'PROD' ? 1 : 2 }}"}}
modules:
  a: {matrix: {n: [1, 2, 3]}, env: {X: "${{ params.channel == 'Dev' ? 1 : 2 }}"}, run: 'true'}
  b: {run: 'true'}
`))
	if err != nil {
		t.Fatal(err)
	}
	if w := f.Warnings(); len(w) != 2 || w[0].Line != 4 || w[1].Line != 6 {
		t.Errorf("warnings: %v", w)
	}
}

// TestFilesBelowOneMemberWarn: where one member is the same, a directory with its name is
// rarely what is meant.
func TestFilesBelowOneMemberWarn(t *testing.T) {
	for consumer, warns := range map[string]bool{
		"needs: [{module: part, same: i}], artifacts: {consume: [text]}":                            true,
		"needs: [part], artifacts: {consume: [{name: text, same: i}]}":                              true,
		"needs: [part], artifacts: {consume: [{name: text, same: [i], to: in}]}":                    true,
		"needs: [part], artifacts: {consume: [{name: text, same: i, merge: true}]}":                 false,
		"needs: [part], artifacts: {consume: [{name: text, same: i, merge: false}]}":                false,
		"needs: [part], artifacts: {consume: [text]}":                                               false,
		"needs: [two], artifacts: {consume: [{name: two, same: i}]}":                                false, // of several members
		"needs: [{module: two, same: j}], artifacts: {consume: [{name: two, same: i}]}":             true,
		"needs: [{module: part, same: i}, single], artifacts: {consume: [{name: s, from: single}]}": false,
	} {
		f, err := Parse("p.yaml", []byte(`
name: x
modules:
  part: {matrix: {i: [1, 2]}, run: x, artifacts: {produce: {text: out}}}
  two: {matrix: {i: [1, 2], j: [1, 2]}, run: x, artifacts: {produce: {two: out}}}
  single: {run: x, artifacts: {produce: {s: out}}}
  own: {matrix: {i: [1, 2], j: [1, 2]}, run: x, `+consumer+`}
`))
		if err != nil {
			t.Fatalf("%s: %v", consumer, err)
		}
		w := f.Warnings()
		if (len(w) > 0) != warns || len(w) > 1 {
			t.Errorf("%s: warns %v", consumer, w)
		}
		if warns && len(w) > 0 && (w[0].Line != 7 || !strings.Contains(w[0].Suggestion, "merge: true")) {
			t.Errorf("%s: %+v", consumer, w[0])
		}
	}
}
