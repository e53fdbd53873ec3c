package schedule

import (
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// group is the nodes that have the same list of needs. A layer is one: its
// needs are resolved, and its open ones counted, once for all of them.
type group struct {
	members []int32
	edges   []edge
	open    int                  // edges to nodes that have not ended
	ahead   int                  // edges to nodes that byNeeds has not listed yet
	path    time.Duration        // longest of its members' paths
	ended   map[string]jobs.Need // how its needs ended, and
	told    map[string]jobs.Need // what of it Go functions are told: once they all have, for several members
}

// edge is one need, resolved to one node.
type edge struct {
	target   int32
	optional bool
	reads    bool // of a placeholder: its axes read it
}

// join puts n into the group of those that have the same list of needs, or
// into a new one.
func (r *Run) join(n *node) {
	list, shared := listOf(n.module)
	if g := r.groups[list]; shared && g != nil {
		n.group = g
		g.members = append(g.members, int32(n.index))
		return
	}
	n.group = &group{members: []int32{int32(n.index)}}
	if shared {
		r.groups[list] = n.group
	}
	r.connect(n.group)
}

// list identifies a list of needs by its place in memory: two equal lists are
// different.
type list struct {
	first *pipeline.Need
	n     int
}

// listOf is the list of a module's needs; shared reports that their modules
// depend on nothing else.
func listOf(m *pipeline.Module) (l list, shared bool) {
	if m.Dynamic != nil {
		return list{}, false
	}
	if len(m.Needs) == 0 {
		return list{}, true
	}
	same := func(n pipeline.Need) bool { return len(n.Same) > 0 }
	return list{&m.Needs[0], len(m.Needs)}, !slices.ContainsFunc(m.Needs, same)
}

// connect resolves the needs of a group to edges; what an edge points at
// learns of the group. Called again when a family that it needs was expanded.
func (r *Run) connect(g *group) {
	g.edges, g.open = g.edges[:0], 0
	m := r.modules[g.members[0]]
	for _, need := range m.Needs {
		reads := m.Dynamic != nil && slices.Contains(m.Dynamic.Reads, need.Module)
		for _, t := range pipeline.Resolve(m, need, r.modules, r.byName, r.families) {
			g.edges = append(g.edges, edge{target: int32(t), optional: need.Optional, reads: reads})
			target := r.nodes[t]
			if target.status.Terminal() {
				continue
			}
			g.open++
			target.dependents = append(target.dependents, g)
		}
	}
}

// reconnect has those that needed the placeholder need its members.
func (r *Run) reconnect(p *node) {
	seen := map[*group]bool{}
	for _, g := range p.dependents {
		if seen[g] {
			continue
		}
		seen[g] = true
		for _, e := range g.edges {
			r.forget(r.nodes[e.target], g)
		}
		r.connect(g)
		for _, i := range g.members {
			r.settled = append(r.settled, int(i))
		}
	}
	p.dependents = nil
}

func (r *Run) forget(target *node, g *group) {
	if target.dependents != nil {
		target.dependents = slices.DeleteFunc(slices.Clone(target.dependents), func(d *group) bool { return d == g })
	}
}
