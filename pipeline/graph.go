package pipeline

import (
	"slices"
	"strings"
)

// checkNeeds checks that needs exist, are not repeated, and form no cycle.
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
			case !side.axes.has(axis):
				c.fault(n.sameAt[i], c.knownOr(axis, side.axes.names, "its axes"), "same: %s has no axis %q", side.name, axis)
			}
		}
	}
}

// checkCycles reports one cycle for each knot of modules that wait for each other.
func (c *collector) checkCycles(f *File, byName map[string]*declaration) {
	at := make(map[*declaration]int, len(f.modules))
	for i, d := range f.modules {
		at[d] = i
	}
	g := make(arrows, len(f.modules))
	for i, d := range f.modules {
		for _, n := range d.needs {
			if j, ok := at[byName[n.Module]]; ok && j != i {
				g[i] = append(g[i], j)
			}
		}
	}
	for _, cycle := range g.cycles() {
		names := make([]string, len(cycle))
		for i, j := range cycle {
			names[i] = f.modules[j].name
		}
		for _, n := range f.modules[cycle[0]].needs {
			if n.Module == names[1] {
				c.fault(n.at, "", "cycle: %s", strings.Join(names, " → "))
			}
		}
	}
}
