package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// Selection says which modules take part in a run. Only and Category add up;
// Skip and SkipCategory win over them. Names are without regard to case; a
// family's name means all its members. Without Only and Category, everything
// takes part that is not skipped. With NoNeeds, what Only and Category name
// takes part alone: without what it needs, and without always-run modules.
type Selection struct {
	Only         []string `msgpack:"only,omitempty"`
	Category     []string `msgpack:"category,omitempty"`
	Skip         []string `msgpack:"skip,omitempty"`
	SkipCategory []string `msgpack:"skip_category,omitempty"`
	NoNeeds      bool     `msgpack:"no_needs,omitempty"`
}

// Select returns the pipeline, or where something is left out a copy in which
// that is marked Unselected. Its errors are Faults: unknown names, with
// suggestions; names in Only and Category of which the selection itself keeps
// everything from running; with NoNeeds, modules that read results which are
// not there.
func (p *Pipeline) Select(s Selection) (*Pipeline, error) {
	x := &selecter{Pipeline: p, byName: index(p.Modules), in: make([]bool, len(p.Modules)), skipped: make([]bool, len(p.Modules))}
	only := x.asked("--only", s.Only, x.named)
	only = append(only, x.asked("--category", s.Category, x.category)...)
	skip := x.named("--skip", s.Skip)
	skip = append(skip, x.category("--skip-category", s.SkipCategory)...)
	everything := len(s.Only)+len(s.Category) == 0
	if everything && s.NoNeeds {
		x.faults = append(x.faults, Fault{Text: "--no-needs says nothing without --only or --category", Suggestion: "name the modules to run alone"})
	}
	if len(x.faults) > 0 {
		return nil, x.faults
	}
	x.choose(only, skip, everything, s.NoNeeds)
	out := p.marked(x.in)
	if s.NoNeeds {
		out = x.alone(out)
	}
	x.checkAsked(s.NoNeeds)
	if len(x.faults) > 0 {
		return nil, x.faults
	}
	return out, nil
}

// choose fills in.
func (x *selecter) choose(only, skip []int, everything, alone bool) {
	for i := range x.in {
		x.in[i] = everything
	}
	if alone {
		for _, i := range only {
			x.in[i] = true
		}
	} else {
		x.take(x.in, only)
	}
	for _, i := range skip {
		x.skipped[i], x.in[i] = true, false
	}
	if !alone {
		x.alwaysRun(x.in, x.skipped)
	}
}

type selecter struct {
	*Pipeline
	byName      map[string]int
	faults      Faults
	wanted      []wanted
	in, skipped []bool // by module
}

// wanted is a name that was asked for, and its modules.
type wanted struct {
	flag, name string
	modules    []int
}

// asked finds the modules of names, and remembers them.
func (x *selecter) asked(flag string, names []string, find func(string, []string) []int) (found []int) {
	for _, name := range names {
		hits := find(flag, []string{name})
		x.wanted = append(x.wanted, wanted{flag, name, hits})
		found = append(found, hits...)
	}
	return found
}

// marked is a copy with everything Unselected that is not in; the pipeline
// itself where it is so already.
func (p *Pipeline) marked(in []bool) *Pipeline {
	same := true
	for i, m := range p.Modules {
		same = same && m.Unselected == !in[i]
	}
	if same {
		return p
	}
	out := *p
	out.Modules = make([]*Module, len(p.Modules))
	for i, m := range p.Modules {
		c := *m
		c.Unselected = !in[i]
		out.Modules[i] = &c
	}
	return &out
}

// SelectLike returns the pipeline with those modules selected that are in old,
// which the same file or program has made with other parameters. A member that
// old does not have takes part when one of its family does there.
func (p *Pipeline) SelectLike(old *Pipeline) *Pipeline {
	modules, families := map[string]bool{}, map[string]bool{}
	for _, m := range old.Modules {
		modules[m.Name] = !m.Unselected
		families[m.Family] = families[m.Family] || m.Family != "" && !m.Unselected
	}
	in := make([]bool, len(p.Modules))
	for i, m := range p.Modules {
		selected, known := modules[m.Name]
		in[i] = selected || !known && families[m.Family]
	}
	return p.marked(in)
}

// take adds modules and all that they need, but not what they need optionally.
func (x *selecter) take(in []bool, modules []int) {
	for len(modules) > 0 {
		i := modules[len(modules)-1]
		modules = modules[:len(modules)-1]
		if in[i] {
			continue
		}
		in[i] = true
		for _, n := range x.Modules[i].Needs {
			if !n.Optional {
				modules = append(modules, x.resolve(i, n)...)
			}
		}
	}
}

func (x *selecter) resolve(i int, n Need) []int {
	return Resolve(x.Modules[i], n, x.Modules, x.byName, x.Families)
}

// alwaysRun adds always-run modules all of whose needs are in, and those behind them.
func (x *selecter) alwaysRun(in, skipped []bool) {
	for again := true; again; {
		again = false
		for i, m := range x.Modules {
			if in[i] || skipped[i] || !m.Policy.AlwaysRun {
				continue
			}
			in[i] = !slices.ContainsFunc(m.Needs, func(n Need) bool {
				return slices.ContainsFunc(x.resolve(i, n), func(j int) bool { return !in[j] })
			})
			again = again || in[i]
		}
	}
}

// named finds modules by name: of a family all members, of a member that one.
func (x *selecter) named(flag string, names []string) []int {
	var found []int
	for _, name := range names {
		hits := x.find(name)
		if len(hits) == 0 {
			x.unknown(flag, "module", name, x.names())
		}
		found = append(found, hits...)
	}
	return found
}

func (x *selecter) find(name string) []int {
	if i, ok := x.byName[name]; ok {
		return []int{i}
	}
	var hits []int
	for i, m := range x.Modules {
		if strings.EqualFold(m.Name, name) || m.Family != "" && strings.EqualFold(m.Family, name) {
			hits = append(hits, i)
		}
	}
	return hits
}

// names are those of modules and families, then of members.
func (x *selecter) names() []string {
	names := sortedKeys(x.Families)
	for _, m := range x.Modules {
		if m.Family == "" {
			names = append(names, m.Name)
		}
	}
	for _, m := range x.Modules {
		if m.Family != "" && m.Dynamic == nil {
			names = append(names, m.Name)
		}
	}
	return names
}

func (x *selecter) category(flag string, categories []string) []int {
	var found []int
	for _, category := range categories {
		hit := false
		for i, m := range x.Modules {
			if m.Category != "" && strings.EqualFold(m.Category, category) {
				found, hit = append(found, i), true
			}
		}
		if !hit {
			x.unknown(flag, "category", category, x.categories())
		}
	}
	return found
}

func (x *selecter) categories() []string {
	known := map[string]bool{}
	for _, m := range x.Modules {
		if m.Category != "" {
			known[m.Category] = true
		}
	}
	return sortedKeys(known)
}

func (x *selecter) unknown(flag, what, name string, known []string) {
	f := Fault{Text: fmt.Sprintf("%s: no %s is called %q", flag, what, name), Suggestion: knownOr(name, known, "there are")}
	if family, _, cut := strings.Cut(name, " ("); cut && what == "module" {
		for _, m := range x.Modules {
			if m.Dynamic != nil && strings.EqualFold(m.Name, family) {
				f.Suggestion = fmt.Sprintf("members of %s are known only while it runs: write %q", m.Name, m.Name)
			}
		}
	}
	x.faults = append(x.faults, f)
}
