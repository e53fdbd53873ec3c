package pipeline

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const selectable = `
name: t
modules:
  gen: {run: x}
  lint: {run: x, category: Check}
  build: {run: x, needs: gen, matrix: {os: [linux, windows]}}
  test: {run: x, needs: [{module: build, same: os}, {module: lint, optional: true}], matrix: {os: [linux, windows]}, category: check}
  late: {run: x, needs: gen, matrix: {v: "${{ fromJSON(needs.gen.outputs.v) }}"}}
  clean: {run: x, needs: [gen, build], always-run: true}
  notice: {run: x, needs: clean, always-run: true}
  report: {run: x, needs: [lint, test], always-run: true}
`

func TestSelect(t *testing.T) {
	p := bind(t, selectable)
	for _, row := range []struct {
		name string
		s    Selection
		want []string
	}{
		{"nothing said", Selection{}, names(p.Modules)},
		{"only takes its needs", Selection{Only: []string{"BUILD"}}, []string{"gen", "build (os=linux)", "build (os=windows)", "clean", "notice"}},
		{"a member", Selection{Only: []string{"test (os=windows)"}}, []string{"gen", "build (os=windows)", "test (os=windows)"}},
		{"a category, without optional needs", Selection{Category: []string{"CHECK"}, Skip: []string{"lint"}}, []string{"gen", "build (os=linux)", "build (os=windows)", "test (os=linux)", "test (os=windows)", "clean", "notice"}},
		{"both add up", Selection{Category: []string{"check"}, Only: []string{"late"}}, []string{"gen", "lint", "build (os=linux)", "build (os=windows)", "test (os=linux)", "test (os=windows)", "late", "clean", "notice", "report"}},
		{"skip wins", Selection{Only: []string{"build"}, Skip: []string{"build (os=windows)", "clean"}}, []string{"gen", "build (os=linux)"}},
		{"alone", Selection{Only: []string{"build"}, NoNeeds: true}, []string{"build (os=linux)", "build (os=windows)"}},
		{"some alone", Selection{Only: []string{"gen", "clean"}, Category: []string{"check"}, Skip: []string{"lint"}, NoNeeds: true}, []string{"gen", "test (os=linux)", "test (os=windows)", "clean"}},
		{"skip a member", Selection{Skip: []string{"Build (os=Linux)"}, SkipCategory: []string{"check"}}, []string{"gen", "build (os=windows)", "late", "clean", "notice", "report"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := p.Select(row.s)
			if err != nil {
				t.Fatal(err)
			}
			var in []string
			for _, m := range got.Modules {
				if !m.Unselected {
					in = append(in, m.Name)
				}
			}
			if diff := cmp.Diff(row.want, in); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, m := range p.Modules {
		if m.Unselected {
			t.Fatalf("Select changed the pipeline: %s", m.Name)
		}
	}
}

func TestSelectUnknown(t *testing.T) {
	_, err := bind(t, selectable).Select(Selection{Only: []string{"biuld", "late (v=1)"}, Skip: []string{"zzzzzz"}, SkipCategory: []string{"chek"}})
	if err == nil {
		t.Fatal("no fault")
	}
	golden(t, "select.faults", err.Error()+"\n")
}

// TestSelectionThatKeepsAModuleFromRunning: what is asked for by name runs, or
// the selection is refused with the reason.
func TestSelectionThatKeepsAModuleFromRunning(t *testing.T) {
	p := bind(t, selectable)
	for name, c := range map[string]struct {
		s    Selection
		want string // "" = no fault
	}{
		"skipped itself":            {Selection{Only: []string{"lint"}, Skip: []string{"lint"}}, "--only: lint would not run: --skip or --skip-category leaves it out"},
		"skipped by its category":   {Selection{Only: []string{"lint"}, SkipCategory: []string{"check"}}, "--only: lint would not run: --skip or --skip-category leaves it out"},
		"its need is skipped":       {Selection{Only: []string{"build"}, Skip: []string{"gen"}}, "--only: build would not run: it needs gen, which"},
		"the need of a need":        {Selection{Only: []string{"test (os=linux)"}, Skip: []string{"gen"}}, "it needs build (os=linux), and there it needs gen, which"},
		"a whole category":          {Selection{Category: []string{"check"}, Skip: []string{"lint", "build"}}, "--category: check would not run: --skip"},
		"alone, and skipped":        {Selection{Only: []string{"build"}, Skip: []string{"build"}, NoNeeds: true}, "--only: build would not run: --skip"},
		"an optional need":          {Selection{Only: []string{"test"}, Skip: []string{"lint"}}, ""},
		"a member of the family":    {Selection{Only: []string{"build"}, Skip: []string{"build (os=linux)"}}, ""},
		"always-run with one need":  {Selection{Only: []string{"clean"}, Skip: []string{"build"}}, ""},
		"always-run without needs":  {Selection{Only: []string{"clean"}, Skip: []string{"build", "gen"}}, "--only: clean would not run: it needs gen, which"},
		"part of a category":        {Selection{Category: []string{"check"}, Skip: []string{"build"}}, ""},
		"alone without a name":      {Selection{NoNeeds: true}, "--no-needs says nothing without --only or --category"},
		"alone, its need skipped":   {Selection{Only: []string{"build"}, Skip: []string{"gen"}, NoNeeds: true}, ""},
		"alone, a family to expand": {Selection{Only: []string{"late"}, NoNeeds: true}, "--no-needs: late reads results of gen, which would not run"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.Select(c.s)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestAloneDoesWithoutNeeds: needs that do not take part become optional, those
// that do stay; a result that is read without a default is a fault.
func TestAloneDoesWithoutNeeds(t *testing.T) {
	p := bind(t, `
name: t
modules:
  a: {run: x, outputs: [v]}
  b: {run: x, needs: a}
  status: {run: x, needs: [a, b], if: "needs.a.status != 'failed'", env: {S: "${{ needs.b.status }}", A: "${{ toJSON(needs.a) }}"}}
  default: {run: x, needs: a, env: {V: "${{ needs.a.outputs.v ?? 'none' }}"}}
  reads: {run: x, needs: a, env: {V: "${{ needs.a.outputs.v }}"}}
  decides: {run: x, needs: a, if: "needs.a.outputs.v == 'x'"}
  always: {run: x, needs: a, always-run: true, env: {V: "${{ needs.a.outputs.v }}"}}
`)
	for name, refused := range map[string]bool{"status": false, "default": false, "reads": true, "decides": true, "always": false} {
		_, err := p.Select(Selection{Only: []string{name}, NoNeeds: true})
		if (err != nil) != refused {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := p.Select(Selection{Only: []string{"status", "b"}, NoNeeds: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got.Modules {
		for _, n := range m.Needs {
			if (m.Name == "status" || m.Name == "b") && n.Optional != (n.Module == "a") {
				t.Errorf("%s needs %s, optional: %v", m.Name, n.Module, n.Optional)
			}
		}
	}
	if p.Modules[1].Needs[0].Optional {
		t.Error("Select changed the pipeline")
	}
}
