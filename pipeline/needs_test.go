package pipeline

import (
	"slices"
	"strings"
	"testing"
)

// TestModulesThatShareTheirNeeds: a list is checked once, and a fault is
// reported for the modules that it concerns and for no others.
func TestModulesThatShareTheirNeeds(t *testing.T) {
	module := func(name string, needs ...Need) *Module {
		return &Module{Name: name, Slots: 1, Func: &Func{Name: name}, Needs: needs, Policy: DefaultPolicy()}
	}
	z, x := []Need{{Module: "z"}}, []Need{{Module: "x"}}
	for name, tt := range map[string]struct {
		modules []*Module
		want    []string
	}{
		"in order": {[]*Module{module("x", z...), module("y", z...), module("z")}, nil},
		"a cycle through one of them": {
			[]*Module{module("x", z...), module("y", z...), module("z", x...)},
			[]string{"cycle: x → z → x"},
		},
		"one needs itself": {[]*Module{module("x", x...), module("y", x...)}, []string{"x needs itself"}},
		"no module has it": {
			[]*Module{module("y", z...), module("x", z...)},
			[]string{`y needs "z", which does not exist`, `x needs "z", which does not exist`},
		},
	} {
		err := Assemble(&Pipeline{Name: "p", Modules: tt.modules}, nil)
		var got []string
		faults, _ := err.(Faults) //nolint:errorlint // documented: it is one
		for _, f := range faults {
			got = append(got, f.Text)
		}
		if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
