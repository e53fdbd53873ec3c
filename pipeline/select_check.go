package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// checkAsked refuses a name that was asked for when selection keeps all modules
// of it from running. A name that is skipped itself is no fault beside
// others that run: a skip takes precedence.
func (x *selecter) checkAsked(alone bool) {
	known := map[int]bool{}
	runs := func(i int) bool { return x.runs(i, alone, known) }
	skipped := func(i int) bool { return x.skipped[i] }
	some := false
	for _, w := range x.wanted {
		some = some || slices.ContainsFunc(w.modules, runs)
	}
	for _, w := range x.wanted {
		if len(w.modules) == 0 || slices.ContainsFunc(w.modules, runs) || some && !slices.ContainsFunc(w.modules, func(i int) bool { return !skipped(i) }) {
			continue
		}
		f := Fault{Text: fmt.Sprintf("%s: %s would not run: %s", w.flag, w.name, x.why(w.modules[0], alone, known))}
		if !x.skipped[w.modules[0]] {
			f.Suggestion = "do not skip what it needs, or run it alone with --no-needs"
		}
		x.faults = append(x.faults, f)
	}
}

// runs reports whether selection lets a module run: it takes part, and so do
// its needs as far as it depends on that.
func (x *selecter) runs(i int, alone bool, known map[int]bool) bool {
	if !x.in[i] || alone {
		return x.in[i]
	}
	if runs, ok := known[i]; ok {
		return runs
	}
	some, missing := false, false
	for _, n := range x.Modules[i].Needs {
		for _, j := range x.resolve(i, n) {
			runs := x.runs(j, alone, known)
			some = some || runs
			missing = missing || !runs && !n.Optional
		}
	}
	known[i] = !missing || x.Modules[i].Policy.AlwaysRun && some
	return known[i]
}

// why says in words what keeps a module from running.
func (x *selecter) why(i int, alone bool, known map[int]bool) string {
	if x.skipped[i] {
		return "--skip or --skip-category leaves it out"
	}
	for _, n := range x.Modules[i].Needs {
		for _, j := range x.resolve(i, n) {
			if n.Optional || x.runs(j, alone, known) {
				continue
			}
			if x.skipped[j] {
				return fmt.Sprintf("it needs %s, which --skip or --skip-category leaves out", x.Modules[j].Name)
			}
			return fmt.Sprintf("it needs %s, and there %s", x.Modules[j].Name, x.why(j, alone, known))
		}
	}
	return "it does not take part"
}

// alone makes needs on modules that do not take part optional, so that nothing
// waits for them, and refuses modules that cannot do without their results.
func (x *selecter) alone(p *Pipeline) *Pipeline {
	out := *p
	out.Modules = slices.Clone(p.Modules)
	var lists NeedLists
	for i, m := range out.Modules {
		missing := x.missing(i)
		if !x.in[i] || len(missing) == 0 {
			continue
		}
		if read := p.mustRead(m, missing); len(read) > 0 {
			x.faults = append(x.faults, Fault{
				Text:       fmt.Sprintf("--no-needs: %s reads results of %s, which would not run", m.Name, strings.Join(read, " and ")),
				Suggestion: "give a default with ??, select what it reads too, or leave --no-needs out",
			})
		}
		c := *m
		c.Needs = slices.Clone(m.Needs)
		for k := range c.Needs {
			c.Needs[k].Optional = c.Needs[k].Optional || slices.Contains(missing, c.Needs[k].Module)
		}
		c.Needs = lists.Shared(c.Needs)
		out.Modules[i] = &c
	}
	return &out
}

// missing are the needs of a module of which something does not take part.
func (x *selecter) missing(i int) (names []string) {
	for _, n := range x.Modules[i].Needs {
		if slices.ContainsFunc(x.resolve(i, n), func(j int) bool { return !x.in[j] }) {
			names = append(names, n.Module)
		}
	}
	return names
}

// mustRead are those of names whose results m reads without a default.
func (p *Pipeline) mustRead(m *Module, names []string) []string {
	read := map[string]bool{}
	for _, n := range m.Needs {
		read[n.Module] = n.Use == Reads
	}
	if m.Dynamic != nil {
		for _, name := range m.Dynamic.Reads {
			read[name] = true
		}
	}
	for _, src := range append(m.strict(), m.If) {
		if src == "" {
			continue
		}
		for name := range readsOf(src, m.vocabulary()).unguarded {
			read[name] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !read[name] })
}

// strict are the sources of expressions in which an output that was not set is
// an error. In the env of an always-run module it is empty text.
func (m *Module) strict() []string {
	if m.Command == nil || !m.Policy.AlwaysRun {
		return m.expressions()
	}
	c, lenient := *m.Command, *m
	c.Env, lenient.Command = nil, &c
	return lenient.expressions()
}
