package pipeline

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmihailenco/msgpack/v5"
)

func names(modules []*Module) []string {
	var out []string
	for _, m := range modules {
		out = append(out, m.Name)
	}
	return out
}

func TestIncludeAndExcludeAsInGitHubActions(t *testing.T) {
	p := bind(t, `
name: t
modules:
  m:
    run: x
    matrix:
      fruit: [apple, pear]
      animal: [cat, dog]
      exclude: [{fruit: pear, animal: dog}]
      include: [{color: green}, {color: pink, animal: cat}, {fruit: apple, shape: circle}, {fruit: banana}, {fruit: banana, animal: cat}]
`)
	want := []string{
		"m (fruit=apple, animal=cat, color=pink, shape=circle)",
		"m (fruit=apple, animal=dog, color=green, shape=circle)",
		"m (fruit=pear, animal=cat, color=pink)",
		"m (fruit=banana)",
		"m (fruit=banana, animal=cat)",
	}
	if diff := cmp.Diff(want, names(p.Modules)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{0, 1, 2, 3, 4}, p.Families["m"]); diff != "" {
		t.Error(diff)
	}
}

func TestTokensDoNotCollide(t *testing.T) {
	p := bind(t, `
name: t
modules:
  a: {run: x, matrix: {v: [1, 2]}}
  A-0: {run: x}
  a-: {run: x, matrix: {v: [1]}}
  b: {run: x, matrix: {v: [1]}}
  b-x1: {run: x}
`)
	var tokens []string
	for _, m := range p.Modules {
		tokens = append(tokens, m.Token)
	}
	if diff := cmp.Diff([]string{"a--0", "a--1", "A-0", "a---0", "b-0", "b-x1"}, tokens); diff != "" {
		t.Error(diff)
	}
}

func TestParameters(t *testing.T) {
	const src = `
name: t
params:
  s: {}
  n: {type: number, from-env: N}
  b: {type: boolean, default: true}
  c: {type: choice, options: [dev, prod]}
  r: {required: true}
modules: {m: {run: x, timeout: "${{ params.n }}s"}}
`
	f, err := Parse("t.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	env := func(name string) (string, bool) { return "7.5", name == "N" }
	p, err := f.Bind(map[string]string{"r": "${{ params.s }}"}, env)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"s": "", "n": 7.5, "b": true, "c": "dev", "r": "${{ params.s }}"}
	if diff := cmp.Diff(want, p.Params); diff != "" {
		t.Error(diff)
	}
	if got := p.Modules[0].Policy.Timeout; got != 7500*time.Millisecond || p.Modules[0].Policy.TimeoutByDefault {
		t.Errorf("timeout %s", got)
	}
	_, err = f.Bind(map[string]string{"rr": "x", "n": "many", "c": "test", "b": "1"}, nil)
	golden(t, "bind-params.faults", err.Error()+"\n")
	_, err = f.Bind(map[string]string{"r": "x", "n": "-1"}, nil)
	golden(t, "bind-value.faults", err.Error()+"\n")
}

func TestBoundFaults(t *testing.T) {
	f, err := Parse("t.yaml", []byte(`
name: t
params: {list: {default: "[]"}, tag: {default: "a b"}, lim: {default: nope}, d: {default: "../x"}, deep: {default: "[[1]]"}}
limits: {l: {max: 1}}
modules:
  a: {run: x, matrix: {v: "${{ fromJSON(params.list) }}"}}
  b: {run: x, requires: {tags: "${{ params.tag }}"}, limit: "${{ params.lim }}", dir: "${{ params.d }}"}
  c: {run: x, matrix: {os: [linux, windows]}}
  d: {run: x, matrix: {os: [linux, darwin]}, needs: [{module: c, same: os}]}
  e: {run: x, matrix: {v: "${{ fromJSON(params.deep) }}"}}
`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Bind(nil, nil)
	if err == nil {
		t.Fatal("no fault")
	}
	golden(t, "bind-graph.faults", err.Error()+"\n")
}

const dynamicFile = `
name: t
env: {E: "1"}
pass-env: HOME
params: {q: {default: Q}}
limits: {l: {max: 1}}
defaults: {env: {D: d}}
modules:
  gen: {run: x, outputs: list}
  build: {run: x, matrix: {os: [linux, windows]}}
  dyn:
    needs: [gen, {module: build, same: os}]
    matrix: {os: [linux, windows], n: "${{ fromJSON(needs.gen.outputs.list) }}", exclude: {os: windows, n: 2}, include: {n: 2, extra: e}}
    requires: {os: "${{ matrix.os }}"}
    command: [run, "${{ matrix.n }}-${{ params.q }}", "${{ needs.gen.outputs.list }}", "${{ matrix.extra }}"]
    if: matrix.n != '9' && needs.gen.outputs.list != ''
    not-in-parallel: ["key-${{ matrix.n }}"]
    outputs: [o]
    category: c
`

// A family is expanded by the process that runs the pipeline, after it travelled.
func TestDynamicFamilyAfterTheWire(t *testing.T) {
	p := travelled(t, bind(t, dynamicFile))
	m := p.Modules[3]
	if m.Name != "dyn" || m.Dynamic == nil || m.Token != "dyn" {
		t.Fatalf("no placeholder: %+v", m)
	}
	if diff := cmp.Diff([]string{"gen"}, m.Dynamic.Reads); diff != "" {
		t.Error(diff)
	}
	combinations, err := p.Combinations(m, Scope{Needs: map[string]NeedView{"gen": {Status: "succeeded", Outputs: map[string]string{"list": `[1, "2"]`}}}})
	if err != nil {
		t.Fatal(err)
	}
	members, err := p.Members(m, combinations)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"dyn (os=linux, n=1)", "dyn (os=linux, n=2, extra=e)", "dyn (os=windows, n=1)"}
	if diff := cmp.Diff(want, names(members)); diff != "" {
		t.Fatal(diff)
	}
	second := members[1]
	if second.Token != "dyn-1" || second.Family != "dyn" || second.Requires.OS != "linux" || second.Category != "c" || second.Dynamic != nil {
		t.Errorf("%+v", second)
	}
	if diff := cmp.Diff([]string{"key-2"}, second.Policy.Keys); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(m.Needs, second.Needs); diff != "" {
		t.Error(diff)
	}
	scope := Scope{Needs: map[string]NeedView{"gen": {Outputs: map[string]string{"list": "L"}}}}
	r, err := p.ResolveCommand(second, scope)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Resolved{Args: []string{"run", "2-Q", "L", "e"}, Dir: ".", Env: []KeyValue{{"E", "1"}}, ModuleEnv: []KeyValue{{"D", "d"}}, PassEnv: []string{"HOME"}}, r); diff != "" {
		t.Error(diff)
	}
	if ok, err := p.Condition(second, scope); !ok || err != nil {
		t.Errorf("condition: %v, %v", ok, err)
	}
}

func travelled(t *testing.T, p *Pipeline) *Pipeline {
	t.Helper()
	b, err := msgpack.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var out Pipeline
	if err := msgpack.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	for i := range out.Modules {
		out.Modules[i].Needs = p.Modules[i].Needs // they travel beside it, in jobs.Spec
	}
	if diff := cmp.Diff(p.Modules, out.Modules); diff != "" {
		t.Fatalf("changed on the wire: %s", diff)
	}
	return &out
}

func TestDynamicAxesGoneWrong(t *testing.T) {
	p := travelled(t, bind(t, dynamicFile))
	m := p.Modules[3]
	for _, row := range []struct{ list, want string }{
		{`{}`, "t.yaml:13:39: ${{ fromJSON(needs.gen.outputs.list) }}: an axis must be a list, not \"{}\""},
		{`[[1]]`, "value 1 of the list is not a text or number"},
		{`[null]`, "value 1 of the list is not a text or number"},
		{`[1, "1"]`, `the list has "1" twice`},
		{`["a\nb"]`, "one line of text"},
		{`x`, `fromJSON: "x" is not JSON`},
		{"[" + strings.Repeat("1,", 10_000) + "1]", "more than 10000 values"},
	} {
		_, err := p.Combinations(m, Scope{Needs: map[string]NeedView{"gen": {Outputs: map[string]string{"list": row.list}}}})
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%.20s: %v, want %s", row.list, err, row.want)
		}
	}
}

// An empty list leaves what include adds; without an include, the family is empty.
func TestEmptyDynamicAxisKeepsInclude(t *testing.T) {
	const file = `
name: d
modules:
  gen: {run: x, outputs: [list]}
  m: {needs: [gen], matrix: {v: "${{ fromJSON(needs.gen.outputs.list) }}", w: [1, 2]%s}, run: x}
`
	empty := Scope{Needs: map[string]NeedView{"gen": {Status: "succeeded", Outputs: map[string]string{"list": "[]"}}}}
	for _, row := range []struct {
		include string
		want    [][]Coordinate
	}{
		{"", [][]Coordinate{}},
		{", exclude: [{w: 1}]", [][]Coordinate{}},
		{", include: [{v: a, w: 1}, {size: large}]", [][]Coordinate{{{"v", "a"}, {"w", "1"}}, {{"size", "large"}}}},
	} {
		p := travelled(t, bind(t, fmt.Sprintf(file, row.include)))
		got, err := p.Combinations(p.Modules[1], empty)
		if diff := cmp.Diff(row.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", row.include, err, diff)
		}
	}
}

func TestEmptyAxisOfParametersKeepsInclude(t *testing.T) {
	const file = `
name: d
params: {list: {default: "[]"}}
modules:
  m: {matrix: {v: "${{ fromJSON(params.list) }}"%s}, run: x}
`
	if p := bind(t, fmt.Sprintf(file, ", include: [{v: extra}]")); len(p.Modules) != 1 || p.Modules[0].Name != "m (v=extra)" {
		t.Errorf("the pipeline has %d modules, want the included one", len(p.Modules))
	}
	f, err := Parse("t.yaml", fmt.Appendf(nil, file, ""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Bind(nil, nil); err == nil || !strings.Contains(err.Error(), "the list is empty") {
		t.Errorf("without an include: %v", err)
	}
}

func TestResolveNeeds(t *testing.T) {
	p := bind(t, dynamicFile)
	byName := index(p.Modules)
	dyn := p.Modules[3]
	member := *dyn
	member.Dynamic, member.Matrix = nil, []Coordinate{{"os", "windows"}}
	for _, row := range []struct {
		m    *Module
		need Need
		want []int
	}{
		{&member, Need{Module: "gen"}, []int{0}},
		{&member, Need{Module: "build"}, []int{1, 2}},
		{&member, Need{Module: "build", Same: []string{"os"}}, []int{2}},
		{dyn, Need{Module: "build", Same: []string{"os"}}, []int{1, 2}},
		{p.Modules[0], Need{Module: "dyn", Same: []string{"os"}}, []int{3}},
		{p.Modules[0], Need{Module: "nope"}, nil},
	} {
		if diff := cmp.Diff(row.want, Resolve(row.m, row.need, p.Modules, byName, p.Families)); diff != "" {
			t.Errorf("%s needs %v: %s", row.m.Name, row.need, diff)
		}
	}
}

func TestDefaultsMerge(t *testing.T) {
	p := bind(t, string(fixtures(t, "good")["defaults"]))
	b := p.Modules[1]
	if b.Policy.Timeout != defaultTimeout || !b.Policy.TimeoutByDefault {
		t.Errorf("null does not remove: %v", b.Policy.Timeout)
	}
	if b.Policy.Retry.Attempts != 3 || b.Policy.Retry.Delay != defaultDelay {
		t.Errorf("retry: %+v", b.Policy.Retry)
	}
	if diff := cmp.Diff([]Tool{{Name: "go"}, {Name: "sh"}}, b.Requires.Tools); diff != "" {
		t.Error(diff)
	}
	var env []string
	for _, v := range b.Command.Env {
		env = append(env, v.Name+"="+v.Value.String())
	}
	if diff := cmp.Diff([]string{"A=1", "C=3"}, env); diff != "" {
		t.Error(diff)
	}
}

func TestTildeIsATilde(t *testing.T) {
	p := bind(t, "name: t\nmodules: {m: {command: [ls, ~], env: {A: ~}, matrix: {v: [~]}}}\n")
	m := p.Modules[0]
	if m.Name != "m (v=~)" || m.Command.Args[1].String() != "~" || m.Command.Env[0].Value.String() != "~" {
		t.Errorf("%+v %+v", m, m.Command)
	}
}

func TestDurations(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0": 0, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "1d": 24 * time.Hour, "1d12h": 36 * time.Hour, "0.5d": 12 * time.Hour, "1.5h": 90 * time.Minute,
	} {
		if got, err := parseDuration(s); err != nil || got != want {
			t.Errorf("%s = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "30", "-1s", "1 s", "1w", "d", "99999999d", "9999999999h", "1e3s"} {
		if got, err := parseDuration(s); err == nil {
			t.Errorf("%q = %v", s, got)
		}
	}
}

func TestMemory(t *testing.T) {
	for s, want := range map[string]int64{"512Mi": 512 << 20, "16Gi": 16 << 30, "8G": 8e9, "1.5GiB": 3 << 29, "100B": 100, "2kb": 2000} {
		if got, err := parseMemory(s); err != nil || got != want {
			t.Errorf("%s = %v, %v", s, got, err)
		}
	}
}

// TestTooManyRequirements: what no message could tell the workers is a fault
// before anything runs.
func TestTooManyRequirements(t *testing.T) {
	tags := make([]string, 4000)
	for i := range tags {
		tags[i] = fmt.Sprintf("tag-%d", i)
	}
	const want = "a worker is told at most 64 KiB"
	_, err := Parse("ci.yaml", []byte("name: ci\nmodules: {a: {run: x, requires: {tags: ["+strings.Join(tags, ", ")+"]}}}\n"))
	if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "ci.yaml:2:") {
		t.Errorf("a file: %v", err)
	}
	m := &Module{Name: "a", Slots: 1, Func: &Func{Name: "a"}, Policy: DefaultPolicy(), Requires: Requirements{Tags: tags}}
	if err := Assemble(&Pipeline{Name: "p", Modules: []*Module{m}}, nil); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a program: %v", err)
	}
	m.Requires.Tags = tags[:1000]
	if err := Assemble(&Pipeline{Name: "p", Modules: []*Module{m}}, nil); err != nil {
		t.Errorf("a thousand: %v", err)
	}
}
