package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// program is a pipeline with one module "m" that has the rest of the file as
// its neighbours, and what its needs ended as.
const neighbours = `
name: t
params: {channel: {default: prod}, my-count: {type: number, default: 3}, ratio: {type: number, default: 2.5}, dry: {type: boolean, default: true}, list: {default: '["a",2,true]'}}
modules:
  my-build: {run: x}
  fam: {run: x, matrix: {os: [linux, windows]}}
`

var ended = Scope{Needs: map[string]NeedView{
	"my-build": {Status: "failed", Reason: "exit 1", Outputs: map[string]string{"version": "1.2", "my-key": "k", "evil": "${{ params.channel }}"}},
	"fam": {Status: "succeeded", Members: []MemberView{
		{Matrix: []Coordinate{{"os", "linux"}}, Status: "succeeded", Outputs: map[string]string{"size": "1"}},
		{Matrix: []Coordinate{{"os", "windows"}}, Status: "failed"},
	}},
}}

// bindOne binds neighbours and a module m with needs and these lines.
func bindOne(t *testing.T, lines ...string) (*Pipeline, *Module) {
	t.Helper()
	src := neighbours + "  m:\n    needs: [my-build, fam]\n"
	for _, l := range lines {
		src += "    " + l + "\n"
	}
	p := bind(t, src)
	return p, p.Modules[len(p.Modules)-1]
}

func bind(t *testing.T, src string) *Pipeline {
	t.Helper()
	f, err := Parse("t.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Bind(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestExpressionsAsText(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{"${{ params.channel }}", "prod"},
		{"a ${{ params.my-count }} b ${{ params.ratio }} c", "a 3 b 2.5 c"},
		{"${{ params.my-count + 1 }}", "4"},
		{"${{ params.dry }}", "true"},
		{"${{ needs.my-build.status }}/${{ needs.my-build.reason }}", "failed/exit 1"},
		{"${{ needs.my-build.outputs.my-key }}", "k"},
		{`${{ needs["my-build"].outputs["my-key"] }}`, "k"},
		{"${{ needs.my-build.outputs.evil }}", "${{ params.channel }}"},
		{"${{ needs.my-build.outputs.none ?? 'default' }}", "default"},
		{"${{ needs.my-build.outputs.none ?? needs.my-build.outputs.nil ?? 'last' }}", "last"},
		{"${{ needs.my-build.outputs.version ?? 'default' }}", "1.2"},
		{"${{ fromJSON(params.list) }}", `["a",2,true]`},
		{"${{ fromJSON(params.list)[1] + 1 }}", "3"},
		{"${{ fromJSON('{\"a\": [1.5, null]}') }}", `{"a":[1.5,null]}`},
		{"${{ join(fromJSON(params.list), '-') }}", "a-2-true"},
		{"${{ toJSON(needs.my-build.outputs) }}", `{"evil":"${{ params.channel }}","my-key":"k","version":"1.2"}`},
		{"${{ needs.fam.status }}", "succeeded"},
		{"${{ map(filter(needs.fam.members, .status == 'failed'), .matrix.os) }}", `["windows"]`},
		{"${{ join(map(needs.fam.members, .outputs.size ?? '0'), '+') }}", "1+0"},
		{"${{ needs.fam.members[0].outputs.size }}", "1"},
		{"${{ contains(params.channel, 'RO') }} ${{ params.channel contains 'ro' }} ${{ contains(params.channel, 'ro') }}", "false true true"},
		{"${{ contains(fromJSON(params.list), 'A') }} ${{ contains(fromJSON(params.list), 'a') }} ${{ 'A' in fromJSON(params.list) }}", "false true false"},
		{"${{ startsWith(params.channel, 'Pro') }} ${{ startsWith(params.channel, 'pro') }} ${{ params.channel == 'Prod' }}", "false true false"},
		{"${{ endsWith(params.channel, 'OD') }} ${{ endsWith(upper(params.channel), 'OD') }}", "false true"},
		{"${{ params.channel not contains 'x' and not contains(params.channel, 'x') }}", "true"},
		{"${{ 'a-b.c-d' + \"x.y-z\" }}", "a-b.c-dx.y-z"},
		{"${{ '}}' }}", "}}"},
		{"${{ {'a': {'b': 1}} }}", `{"a":{"b":1}}`},
		{"${{ params.dry ? 'yes' : 'no' }}", "yes"},
		{"${{ replace('a/b/c', '/', '-') }}", "a-b-c"},
		{"${{ upper(params.channel) + string(len(split('a,b', ','))) }}", "PROD2"},
		{"${{ map(1..3, # * 2) }}", "[2,4,6]"},
		{"${{ let a = 2; a * a }}", "4"},
		{"${{ sum(map(needs.fam.members, .status == 'failed' ? 1 : 0)) }}", "1"},
	} {
		p, m := bindOne(t, "command:", "  - |-", "    "+row.text)
		got, err := p.ResolveCommand(m, ended)
		if err != nil || got.Args[0] != row.want {
			t.Errorf("%s = %q, %v; want %q", row.text, got.Args, err, row.want)
		}
	}
}

// A missing axis or field is nil: ?? replaces it.
func TestMissingAxesAndFields(t *testing.T) {
	const file = `
name: d
params: {json: {default: '{"a": {"b": "x"}, "list": [1]}'}}
modules:
  m:
    matrix: {os: [linux, mac], include: [{os: linux, size: large}]}
    command: [echo, "${{ %s }}"]
`
	for _, row := range []struct{ expression, first, second string }{
		{"matrix.os", "linux", "mac"},
		{"matrix.size ?? 'def'", "large", "def"},
		{"matrix['size'] ?? matrix.os ?? 'def'", "large", "mac"},
		{"matrix.size == nil", "false", "true"},
		{"matrix.size == ''", "false", "true"},
		{"'' != matrix.size", "true", "false"},
		{"matrix.size == 'large'", "true", "false"},
		{"matrix.size in ['large']", "true", "false"},
		{"startsWith(matrix.size, 'l')", "true", "false"},
		{"(matrix.size ?? 'x') + 'y'", "largey", "xy"},
		{"let s = matrix.size; s ?? 'def'", "large", "def"},
		{"[matrix.size][0] ?? 'def'", "large", "def"},
		{"fromJSON(params.json).a.b ?? 'def'", "x", "x"},
		{"fromJSON(params.json).a.c ?? 'def'", "def", "def"},
		{"fromJSON(params.json).c.d['e'] ?? 'def'", "def", "def"},
		{"fromJSON(params.json).list[5] ?? 'def'", "def", "def"},
		{"fromJSON(params.json).list[-1] ?? 'def'", "1", "1"},
		{"toJSON(fromJSON(params.json).none)", "null", "null"},
	} {
		p := bind(t, fmt.Sprintf(file, row.expression))
		for i, want := range []string{row.first, row.second} {
			if got, known := p.Modules[i].Command.Args[1].plain(); got != want || !known {
				t.Errorf("%s = %q, want %q", row.expression, got, want)
			}
		}
	}
}

func TestMissingFieldsOfMembers(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{"${{ needs.fam.members[7].outputs.size ?? 'def' }}", "def"},
		{"${{ needs.fam.members[7].status ?? 'def' }}", "def"},
		{"${{ needs.fam.members[0].matrix.none ?? 'def' }}", "def"},
		{"${{ join(map(needs.fam.members, .matrix.os ?? 'none'), ',') }}", "linux,windows"},
	} {
		p, m := bindOne(t, "command:", "  - |-", "    "+row.text)
		if got, err := p.ResolveCommand(m, ended); err != nil || got.Args[0] != row.want {
			t.Errorf("%s = %q, %v; want %q", row.text, got.Args, err, row.want)
		}
	}
}

func TestConditions(t *testing.T) {
	for _, row := range []struct {
		condition string
		want      bool
	}{
		{"params.channel == 'prod'", true},
		{"${{ params.dry && needs.my-build.status != 'failed' }}", false},
		{"success()", false},
		{"failure()", true},
		{"cancelled()", false},
		{"failure() || needs.my-build.outputs.none == 'x'", true}, // what is not asked does not fail
		{"needs.my-build.status in ['failed', 'timed_out']", true},
		{"any(needs.fam.members, .status == 'failed' && .matrix.os == 'windows')", true},
		{"fromJSON('true')", true},
		{"true", true},
	} {
		p, m := bindOne(t, "run: x", "always-run: true", "if: >-", "  "+row.condition)
		got, err := p.Condition(m, ended)
		if err != nil || got != row.want {
			t.Errorf("%s = %v, %v", row.condition, got, err)
		}
	}
}

func TestAnIgnoredFailureIsNoFailure(t *testing.T) {
	p, m := bindOne(t, "run: x", "always-run: true", "if: failure() || cancelled() || !success()")
	got, err := p.Condition(m, Scope{Needs: map[string]NeedView{"my-build": {Status: "ignored_failure"}, "fam": {Status: "skipped"}}})
	if got || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestRunTimeErrorsNameExpressionAndPlace(t *testing.T) {
	for _, row := range []struct{ line, want string }{
		{`if: needs.my-build.outputs.none == 'x'`, `t.yaml:10:9: if: ${{ needs.my-build.outputs.none == 'x' }}: my-build did not set the output "none" (it ended failed); it set evil, my-key, version`},
		{`if: fromJSON('1')`, `t.yaml:10:9: if: ${{ fromJSON('1') }}: it must be true or false, and is "1"`},
		{`if: fromJSON('x')`, `t.yaml:10:9: if: ${{ fromJSON('x') }}: fromJSON: "x" is not JSON: invalid character 'x' looking for beginning of value`},
		{`if: int(needs.my-build.outputs.my-key) > 1`, `t.yaml:10:9: if: ${{ int(needs.my-build.outputs.my-key) > 1 }}: "k" is not a number`},
		{`if: "len(map(1..2000000, #)) > 1"`, `memory budget exceeded`},
	} {
		p, m := bindOne(t, "run: x", row.line)
		_, err := p.Condition(m, ended)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v\nwant %s", row.line, err, row.want)
		}
	}
}

// Every expression ends, and uses bounded time and memory.
func TestExpressionsAreBounded(t *testing.T) {
	doubled := "'x'"
	for range 60 {
		doubled = "map(" + doubled + ", # + #)"
	}
	for _, src := range []string{
		"let a = 1..1000; count(a, count(a, count(a, count(a, true) > 0) > 0) > 0) > 0",
		"len(" + strings.Replace(doubled, "'x'", "['xxxxxxxxxxxx']", 1) + ") > 0",
		"len(reduce(1..100, #acc + #acc, 'x')) > 0",
		"len(toJSON(reduce(1..100, [#acc, #acc], ['x']))) > 0",
		"len(replace(repeat('x', 900000), 'x', repeat('y', 90000))) > 0",
	} {
		p, m := bindOne(t, "run: x", "if: >-", "  "+src)
		if _, err := p.Condition(m, ended); err == nil {
			t.Errorf("%.60s: no error", src)
		}
	}
}

func TestMissingOutputInCommand(t *testing.T) {
	p, m := bindOne(t, `command: [x, "${{ needs.my-build.outputs.none }}"]`, `env: {A: "${{ needs.my-build.outputs.nil }}"}`)
	_, err := p.ResolveCommand(m, ended)
	want := `t.yaml:9:22: command: ${{ needs.my-build.outputs.none }}: my-build did not set the output "none" (it ended failed); it set evil, my-key, version
t.yaml:10:18: env A: ${{ needs.my-build.outputs.nil }}: my-build did not set the output "nil" (it ended failed); it set evil, my-key, version`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestAlwaysRunGetsEmptyEnvAndAWarning(t *testing.T) {
	p, m := bindOne(t, "run: x", "always-run: true", `env: {A: "v${{ needs.my-build.outputs.none }}", B: "${{ needs.my-build.outputs.version }}"}`)
	r, err := p.ResolveCommand(m, ended)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]KeyValue{{"A", "v"}, {"B", "1.2"}}, r.ModuleEnv); diff != "" {
		t.Error(diff)
	}
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], `env A is empty in part: my-build did not set the output "none"`) {
		t.Errorf("warnings: %q", r.Warnings)
	}
}

func TestReads(t *testing.T) {
	_, m := bindOne(t, "if: needs.my-build.outputs.version == '1' && needs.fam.status == 'failed'",
		`command: [x, "${{ needs.my-build.status }}"]`, `env: {A: "${{ join(map(needs.fam.members, .status)) }}"}`)
	if diff := cmp.Diff([]string{"my-build"}, m.ConditionReads()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"fam"}, m.TextReads()); diff != "" {
		t.Error(diff)
	}
	_, all := bindOne(t, "run: x", `stdin: "${{ toJSON(needs) }}"`)
	if diff := cmp.Diff([]string{"my-build", "fam"}, all.TextReads()); diff != "" {
		t.Error(diff)
	}
}

// Everything that reads no needs is put in when the graph is made.
func TestPartialEvaluation(t *testing.T) {
	p := bind(t, `
name: t
params: {q: {default: Q}}
modules:
  a: {run: x}
  f:
    needs: a
    matrix: {os: [linux, windows]}
    command: [x, "${{ params.q }}-${{ matrix.os }}-${{ needs.a.status }}-${{ matrix.os + needs.a.status }}"]
`)
	got := p.Modules[2].Command.Args[1].String()
	if want := "Q-windows-${{ needs.a.status }}-${{ matrix.os + needs.a.status }}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r, err := p.ResolveCommand(p.Modules[2], Scope{Needs: map[string]NeedView{"a": {Status: "cached"}}})
	if err != nil || r.Args[1] != "Q-windows-cached-windowscached" {
		t.Errorf("got %q, %v", r.Args, err)
	}
}
