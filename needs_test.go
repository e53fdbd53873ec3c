package modpipe_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/pipeline"
)

func number(context.Context) (int, error)                               { return 1, nil }
func total(_ context.Context, all []int) (int, error)                   { return len(all), nil }
func hear(_ context.Context, _ []modpipe.Outcome) (s struct{}, _ error) { return s, nil }

func graphOf(t *testing.T, define func(*modpipe.Builder)) map[string]*pipeline.Module {
	t.Helper()
	p, err := modpipe.Build("needs", define)
	if err != nil {
		t.Fatal(err)
	}
	g, err := p.Pipeline(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	modules := map[string]*pipeline.Module{}
	for _, m := range g.Modules {
		modules[m.Name] = m
	}
	return modules
}

// TestNeedsSayWhatIsUsedOfThem: a job tells a function no more than that.
func TestNeedsSayWhatIsUsedOfThem(t *testing.T) {
	modules := graphOf(t, func(p *modpipe.Builder) {
		a, b := modpipe.Add(p, "a", modpipe.Call(number)), modpipe.Add(p, "b", modpipe.Call(number))
		modpipe.Add(p, "waits", modpipe.Call(number), modpipe.After(a, modpipe.Optional(b)))
		modpipe.Add(p, "hears", modpipe.Call1(hear, modpipe.Outcomes(a, b)), modpipe.After(b))
		modpipe.Add(p, "reads", modpipe.Call1(total, modpipe.All(a, b)), modpipe.After(a))
	})
	for name, want := range map[string][]pipeline.Need{
		"a":     nil,
		"waits": {{Module: "a"}, {Module: "b", Optional: true}},
		"hears": {{Module: "a", Optional: true, Use: pipeline.Hears}, {Module: "b", Use: pipeline.Hears}},
		"reads": {{Module: "a", Use: pipeline.Reads}, {Module: "b", Use: pipeline.Reads}},
	} {
		if diff := cmp.Diff(want, modules[name].Needs); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestALayerHasOneListOfNeeds: whether it waits for the layer before or reads it.
func TestALayerHasOneListOfNeeds(t *testing.T) {
	modules := graphOf(t, func(p *modpipe.Builder) {
		var first []modpipe.Value[int]
		var needs []modpipe.Need
		for i := range 10 {
			v := modpipe.Add(p, fmt.Sprint("first", i), modpipe.Call(number))
			first, needs = append(first, v), append(needs, v)
		}
		for i := range 10 {
			modpipe.Add(p, fmt.Sprint("after", i), modpipe.Call(number), modpipe.After(needs...))
			modpipe.Add(p, fmt.Sprint("reads", i), modpipe.Call1(total, modpipe.All(first...)), modpipe.After(needs[0]))
		}
	})
	for _, layer := range []string{"after", "reads"} {
		a, b := modules[layer+"0"].Needs, modules[layer+"9"].Needs
		if len(a) != 10 || &a[0] != &b[0] {
			t.Errorf("%s: two of a layer have two lists of %d needs", layer, len(a))
		}
	}
}
