package pipeline

import (
	"slices"
	"strings"
)

// checkNeeds checks that needs exist, stand once, and make no cycle.
func (c *collector) checkNeeds(f *File) {
	byName := f.byName()
	more := sortedIfMore(f.names, byName)
	for _, d := range f.modules {
		seen := map[string]bool{}
		for _, n := range d.needs {
			switch {
			case n.Module == d.name:
				c.fault(n.at, "", "%s needs itself", d.name)
			case byName[n.Module] == nil:
				c.fault(n.at, c.knownOr(n.Module, more, "modules"), "%s needs %q, which does not exist", d.name, n.Module)
			case seen[n.Module]:
				c.fault(n.at, "", "%s needs %q twice", d.name, n.Module)
			default:
				c.checkSame(d, n, byName[n.Module])
			}
			seen[n.Module] = true
		}
	}
	c.checkCycles(f, byName)
}

// sortedIfMore are the names of a file's modules, with those of the program behind them.
func sortedIfMore(names []string, byName map[string]*declaration) []string {
	more := slices.Clone(names)
	own := make(map[string]bool, len(names))
	for _, name := range names {
		own[name] = true
	}
	for _, name := range sortedKeys(byName) {
		if !own[name] {
			more = append(more, name)
		}
	}
	return more
}

func (f *File) byName() map[string]*declaration {
	m := f.program.declarations(f.src.name)
	for _, d := range f.modules {
		m[d.name] = d
	}
	return m
}

// checkSame checks that both sides have the axes on which they shall be the same.
func (c *collector) checkSame(d *declaration, n declaredNeed, needed *declaration) {
	for i, axis := range n.Same {
		for _, side := range []*declaration{d, needed} {
			switch {
			case !side.family():
				c.fault(n.sameAt[i], "", "same: %s has no matrix", side.name)
			case !slices.Contains(side.axes, axis):
				c.fault(n.sameAt[i], c.knownOr(axis, side.axes, "its axes"), "same: %s has no axis %q", side.name, axis)
			}
		}
	}
}

// checkCycles reports one cycle for each knot of modules that wait for each other.
func (c *collector) checkCycles(f *File, byName map[string]*declaration) {
	done := orderable(f, byName)
	for _, d := range f.modules {
		if done[d.name] {
			continue
		}
		cycle := shortestCycle(d, byName)
		if cycle == nil {
			continue
		}
		for _, name := range knot(d, byName) {
			done[name] = true
		}
		for _, n := range d.needs {
			if n.Module == cycle[1] {
				c.fault(n.at, "", "cycle: %s", strings.Join(cycle, " → "))
			}
		}
	}
}

// orderable are the modules that neither are on a cycle nor behind one.
func orderable(f *File, byName map[string]*declaration) map[string]bool {
	waits := map[string]int{}
	dependents := map[string][]string{}
	var ready []string
	for _, d := range f.modules {
		for _, n := range d.needs {
			if byName[n.Module] != nil && n.Module != d.name {
				waits[d.name]++
				dependents[n.Module] = append(dependents[n.Module], d.name)
			}
		}
		if waits[d.name] == 0 {
			ready = append(ready, d.name)
		}
	}
	done := map[string]bool{}
	for len(ready) > 0 {
		name := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		done[name] = true
		for _, dependent := range dependents[name] {
			if waits[dependent]--; waits[dependent] == 0 {
				ready = append(ready, dependent)
			}
		}
	}
	return done
}

// shortestCycle leads from a module over its needs back to it; nil when there is none.
func shortestCycle(d *declaration, byName map[string]*declaration) []string {
	via := map[string]string{}
	queue := []string{d.name}
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		for _, n := range byName[name].needs {
			if n.Module == name || byName[n.Module] == nil {
				continue
			}
			if n.Module == d.name {
				return trail(via, d.name, name)
			}
			if _, seen := via[n.Module]; !seen {
				via[n.Module] = name
				queue = append(queue, n.Module)
			}
		}
	}
	return nil
}

func trail(via map[string]string, start, end string) []string {
	path := []string{start}
	for at := end; at != start; at = via[at] {
		path = append(path, at)
	}
	path = append(path, start)
	slices.Reverse(path)
	return path
}

// knot are the modules that a module reaches and that reach it.
func knot(d *declaration, byName map[string]*declaration) []string {
	reached := reachable(d.name, byName, func(m *declaration) []string { return m.needNames() })
	dependents := map[string][]string{}
	for _, m := range byName {
		for _, n := range m.needs {
			dependents[n.Module] = append(dependents[n.Module], m.name)
		}
	}
	back := reachable(d.name, byName, func(m *declaration) []string { return dependents[m.name] })
	var names []string
	for name := range reached {
		if back[name] {
			names = append(names, name)
		}
	}
	return names
}

func (d *declaration) needNames() []string {
	names := make([]string, len(d.needs))
	for i, n := range d.needs {
		names[i] = n.Module
	}
	return names
}

func reachable(start string, byName map[string]*declaration, next func(*declaration) []string) map[string]bool {
	seen := map[string]bool{start: true}
	stack := []string{start}
	for len(stack) > 0 {
		m := byName[stack[len(stack)-1]]
		stack = stack[:len(stack)-1]
		for _, name := range next(m) {
			if byName[name] != nil && !seen[name] {
				seen[name] = true
				stack = append(stack, name)
			}
		}
	}
	return seen
}
