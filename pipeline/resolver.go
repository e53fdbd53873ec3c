package pipeline

import "strings"

// Resolver resolves many needs of one list of modules, which does not change
// while it is used: needs of the same values are looked up, not searched for. It is
// for one goroutine.
type Resolver struct {
	modules  []*Module
	byName   map[string]int
	families map[string][]int
	same     map[string]map[string][]int // by family and axes, then by their values
}

// NewResolver is a Resolver of modules; families: name → indices, as a Pipeline has them.
func NewResolver(modules []*Module, families map[string][]int) *Resolver {
	return &Resolver{modules: modules, byName: index(modules), families: families, same: map[string]map[string][]int{}}
}

// Resolve is the function of this name.
func (r *Resolver) Resolve(m *Module, n Need) []int {
	members, family := r.families[n.Module]
	if !family || len(n.Same) == 0 || m.Dynamic != nil || len(members) == 1 {
		return Resolve(m, n, r.modules, r.byName, r.families)
	}
	key := n.Module + "\n" + strings.Join(n.Same, "\n")
	table, ok := r.same[key]
	if !ok {
		table = map[string][]int{}
		for _, i := range members {
			v := valuesOn(r.modules[i].Matrix, n.Same)
			table[v] = append(table[v], i)
		}
		r.same[key] = table
	}
	return table[valuesOn(m.Matrix, n.Same)]
}

// valuesOn tells apart what pairs have on some axes: values have no control characters.
func valuesOn(pairs []Coordinate, axes []string) string {
	var b strings.Builder
	for _, axis := range axes {
		if v, ok := valueOn(pairs, axis); ok {
			b.WriteString(v)
			b.WriteByte(1)
		}
		b.WriteByte(2)
	}
	return b.String()
}
