package pipeline

import (
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
		{"skip wins", Selection{Only: []string{"build"}, Skip: []string{"gen", "clean"}}, []string{"build (os=linux)", "build (os=windows)"}},
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
