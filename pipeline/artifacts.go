package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// artifactCheck checks that what modules consume is produced by their needs.
type artifactCheck struct {
	// modules are those of a declared name: a module alone, or the members of a family; none when they are not known.
	modules func(name string) []*Module
	names   []string // of everything that is declared
	fault   func(m *Module, entry int, suggestion, format string, args ...any)
	warn    func(m *Module, entry int, suggestion, format string, args ...any) // nil: warned before
	hint    func(func() string) string

	axes     func(name string) (axes, bool) // of a declared name; nil: checked before
	resolver *Resolver                      // nil: members are not known yet

	left map[string]*products
}

// products are the artifacts of a module, or of all members of a family.
type products struct {
	names   wordSet
	failing map[string]bool // those that are stored only when an attempt failed
	ignored bool            // a failure does not keep from running what depends on it
	open    bool            // some names are not known yet
}

// of is what the modules of a declared name produce.
func (x *artifactCheck) of(name string) *products {
	if p := x.left[name]; p != nil {
		return p
	}
	p := &products{failing: map[string]bool{}}
	modules := x.modules(name)
	p.open = len(modules) == 0
	for _, m := range modules {
		p.add(m)
	}
	if x.left == nil {
		x.left = map[string]*products{}
	}
	x.left[name] = p
	return p
}

func (p *products) add(m *Module) {
	p.ignored = p.ignored || m.Policy.IgnoreFailure
	for i, a := range m.Produce {
		if m.isLate(fmt.Sprintf("produce[%d].name", i)) {
			p.open = true
			continue
		}
		if p.names.add(a.Name) {
			p.failing[a.Name] = true
		}
		p.failing[a.Name] = p.failing[a.Name] && a.When == OnFailure
	}
	if m.Dynamic != nil && m.Dynamic.Member != nil {
		p.add(m.Dynamic.Member)
	}
}

// matching are the names that an entry of consume takes.
func (p *products) matching(c *Consume) []string {
	if !isPattern(c.Name) {
		if p.names.has(c.Name) {
			return []string{c.Name}
		}
		return nil
	}
	return slices.DeleteFunc(slices.Clone(p.names.words), func(name string) bool { return !c.Takes(name) })
}

// isLate reports whether a text of m is not known yet.
func (m *Module) isLate(place string) bool {
	return slices.ContainsFunc(m.Late, func(l Late) bool { return l.Place == place })
}

// declaredName is the name by which others need m.
func (m *Module) declaredName() string {
	if m.Family != "" {
		return m.Family
	}
	return m.Name
}

// check reports what is wrong with what m consumes.
func (x *artifactCheck) check(m *Module) {
	type entry struct {
		name, from string
		open       bool
	}
	seen := map[entry]bool{}
	for i := range m.Consume {
		c := &m.Consume[i]
		if c.FromRun != nil || !x.from(m, i, c) || m.isLate(fmt.Sprintf("consume[%d].name", i)) {
			continue
		}
		one := entry{c.Name, c.From, c.Open}
		if seen[one] && len(c.Same) == 0 {
			x.fault(m, i, "", "%s consumes %q twice", m.declaredName(), c.Name)
			continue
		}
		seen[one] = true
		x.producers(m, i, c)
	}
}

// from checks that an artifact is consumed from a direct need.
func (x *artifactCheck) from(m *Module, i int, c *Consume) bool {
	if c.From == "" || slices.ContainsFunc(m.Needs, func(n Need) bool { return n.Module == c.From }) {
		return true
	}
	if slices.Contains(x.names, c.From) {
		x.fault(m, i, fmt.Sprintf("add %s to the needs of %s", c.From, m.declaredName()), "%q is not a direct need of %s", c.From, m.declaredName())
		return false
	}
	var needs []string
	for _, n := range m.Needs {
		needs = append(needs, n.Module)
	}
	x.fault(m, i, x.hint(func() string { return knownOr(c.From, needs, "its needs") }), "%s has no need %q", m.declaredName(), c.From)
	return false
}

// producers checks that one need produces what an entry of consume names.
func (x *artifactCheck) producers(m *Module, i int, c *Consume) {
	by := map[string][]string{} // name → needs
	open := false
	var names wordSet
	for _, n := range m.Needs {
		if c.From != "" && c.From != n.Module {
			continue
		}
		p := x.of(n.Module)
		open = open || p.open
		for _, name := range p.matching(c) {
			names.add(name)
			by[name] = append(by[name], n.Module)
		}
	}
	if len(by) == 0 {
		if !open {
			x.notProduced(m, i, c)
		}
		return
	}
	for _, name := range names.words {
		if who := by[name]; len(who) > 1 {
			x.fault(m, i, fmt.Sprintf("write {name: %s, from: %s}", c.Name, who[0]), "%q is produced by %s", name, strings.Join(who, " and "))
			return
		}
		x.onFailure(m, i, name, by[name][0])
	}
	x.same(m, i, c, by)
	x.apart(m, i, c, by)
}

// notProduced reports an artifact that no need produces.
func (x *artifactCheck) notProduced(m *Module, i int, c *Consume) {
	name := m.declaredName()
	for _, other := range x.names {
		if c.From == "" && other != name && len(x.of(other).matching(c)) > 0 {
			x.fault(m, i, fmt.Sprintf("add %s to the needs of %s", other, name), "%q is produced by %s, which is not a direct need of %s", c.Name, other, name)
			return
		}
	}
	var known []string
	for _, n := range m.Needs {
		if c.From == "" || c.From == n.Module {
			known = append(known, x.of(n.Module).names.words...)
		}
	}
	suggest := func() string {
		if len(known) == 0 {
			return fmt.Sprintf("write artifacts: {produce: {%s: …}} where its files are made", c.Name)
		}
		return knownOr(c.Name, known, "produced are")
	}
	if c.From != "" {
		x.fault(m, i, x.hint(suggest), "%s produces no artifact %q", c.From, c.Name)
		return
	}
	x.fault(m, i, x.hint(suggest), "no need of %s produces %q", name, c.Name)
}

// onFailure refuses an artifact that is never there when m runs.
func (x *artifactCheck) onFailure(m *Module, i int, name, need string) {
	p := x.of(need)
	if !p.failing[name] || p.ignored || m.Policy.AlwaysRun {
		return
	}
	x.fault(m, i, fmt.Sprintf("add always-run: true to %s, or ignore-failure: true to %s", m.declaredName(), need),
		"%s stores %q only after a failure, and then %s does not run", need, name, m.declaredName())
}

// same checks that both sides have the axes on which they shall be the same,
// and that some member of the other side is the same.
func (x *artifactCheck) same(m *Module, i int, c *Consume, by map[string][]string) {
	if len(c.Same) == 0 {
		return
	}
	sides := []string{m.declaredName()}
	for _, name := range sortedKeys(by) {
		if need := by[name][0]; !slices.Contains(sides, need) {
			sides = append(sides, need)
		}
	}
	for _, side := range sides {
		if x.axes != nil && !x.hasAxes(m, i, c, side) {
			return
		}
	}
	if x.resolver == nil {
		return
	}
	for _, need := range sides[1:] {
		if m.Dynamic == nil && len(x.resolver.Resolve(m, Need{Module: need, Same: c.Same})) == 0 {
			x.fault(m, i, "", "%s consumes %q of the members of %s with the same %s, and there are none", m.Name, c.Name, need, strings.Join(c.Same, ", "))
		}
	}
}

// apart warns of an artifact of one member that is restored below the directory of that
// member: a command that is the same for all members cannot know its name.
func (x *artifactCheck) apart(m *Module, i int, c *Consume, by map[string][]string) {
	if x.warn == nil || c.Merge {
		return
	}
	for _, n := range m.Sources(*c) {
		a, known := x.axes(n.Module)
		one := known && len(a.names) > 0 && !slices.ContainsFunc(a.names, func(axis string) bool { return !slices.Contains(n.Same, axis) })
		makes := slices.ContainsFunc(sortedKeys(by), func(name string) bool { return slices.Contains(by[name], n.Module) })
		if one && makes {
			x.warn(m, i, fmt.Sprintf("add merge: true to have the files at the paths that they had, or merge: false to keep %s-N", n.Module),
				"the files of %q are restored below the directory of the one member of %s that is the same", c.Name, n.Module)
		}
	}
}

// hasAxes checks that one side has the axes.
func (x *artifactCheck) hasAxes(m *Module, i int, c *Consume, side string) bool {
	a, known := x.axes(side)
	if !known {
		return true
	}
	for _, axis := range c.Same {
		switch {
		case a.names == nil:
			x.fault(m, i, "", "same: %s has no matrix", side)
			return false
		case !a.has(axis):
			x.fault(m, i, x.hint(func() string { return knownOr(axis, a.names, "its axes") }), "same: %s has no axis %q", side, axis)
			return false
		}
	}
	return true
}

// checkArtifacts checks what modules consume, as far as no value is needed:
// modules are the declarations, decoded without one, and entries where each consumes.
func (c *collector) checkArtifacts(f *File, modules map[string]*Module, entries map[*Module][]*node) {
	byName := f.byName()
	x := &artifactCheck{
		names: sortedIfMore(f.names, byName), hint: c.hint,
		modules: func(name string) []*Module {
			if m := modules[name]; m != nil {
				return []*Module{m}
			}
			return nil
		},
		fault: func(m *Module, i int, suggestion, format string, args ...any) {
			if i < len(entries[m]) && c.ok(entries[m][i]) {
				c.fault(entries[m][i], suggestion, format, args...)
			}
		},
		warn: func(m *Module, i int, suggestion, format string, args ...any) {
			if i < len(entries[m]) && c.ok(entries[m][i]) && entries[m][i].get("merge") == nil {
				n := entries[m][i]
				c.add(&c.warnings, position{n.Line, n.Col}, fmt.Sprintf(format, args...), suggestion)
			}
		},
		axes: func(name string) (axes, bool) {
			d := byName[name]
			if d == nil || d.tree == nil {
				return axes{}, false // the program's
			}
			return d.axes, true
		},
	}
	for _, d := range f.modules {
		if m := modules[d.name]; m != nil && !c.full() {
			x.check(m)
		}
	}
}

// checkArtifacts checks what modules consume, now that values are known.
func (b *binder) checkArtifacts() {
	x := &artifactCheck{
		names: b.file.names, hint: b.hint, modules: b.out.named(), resolver: NewResolver(b.out.Modules, b.out.Families),
		fault: func(m *Module, i int, suggestion, format string, args ...any) {
			entries := b.byName[m.declaredName()].tree.get("artifacts").get("consume").elements()
			if i < len(entries) {
				b.faultAt(position{entries[i].Line, entries[i].Col}, suggestion, format, args...)
			}
		},
	}
	for _, m := range b.out.Modules {
		if len(m.Consume) > 0 && !b.full() {
			x.check(m)
		}
	}
}

// artifacts checks what modules consume.
func (a *assembler) artifacts() {
	at := map[*Module]int{}
	var names wordSet
	for i, m := range a.p.Modules {
		at[m] = i
		names.add(m.declaredName())
	}
	x := &artifactCheck{
		names: names.words, hint: a.hint, modules: a.p.named(), resolver: NewResolver(a.p.Modules, a.p.Families),
		fault: func(m *Module, _ int, suggestion, format string, args ...any) {
			a.fault(at[m], suggestion, format, args...)
		},
	}
	for _, m := range a.p.Modules {
		if len(m.Consume) > 0 && !a.full() {
			x.check(m)
		}
	}
}

// named finds the modules of a declared name.
func (p *Pipeline) named() func(name string) []*Module {
	byName := index(p.Modules)
	return func(name string) []*Module {
		at := p.Families[name]
		if i, ok := byName[name]; ok && len(at) == 0 {
			at = []int{i}
		}
		modules := make([]*Module, len(at))
		for k, i := range at {
			modules[k] = p.Modules[i]
		}
		return modules
	}
}
