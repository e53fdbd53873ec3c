package schedule

import (
	"slices"
	"strings"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// Again is the graph of a run that does an ended one again, and what it keeps
// of that. modules are those to do again, with what follows them in the run and
// with what they need and is not kept; without any, everything that has not
// succeeded is. With start nothing is kept. unknown is a name in modules that
// no module or family has.
func (r *Run) Again(modules []string, start bool) (p *pipeline.Pipeline, kept []jobs.Kept, unknown string) {
	switch {
	case len(modules) == 0 && start:
		return r.pipeline, []jobs.Kept{}, ""
	case len(modules) == 0:
		return r.pipeline, r.Kept(), ""
	}
	again := make([]bool, len(r.nodes))
	for _, name := range modules {
		found := r.called(name)
		if len(found) == 0 {
			return nil, nil, name
		}
		for _, i := range found {
			again[i] = true
		}
	}
	r.follow(again, func(n *node) bool { return !n.module.Unselected })
	r.require(again, start)
	kept = []jobs.Kept{}
	for _, n := range r.inOrder() {
		if !again[n.index] && !start && succeeded(n) {
			kept = append(kept, jobs.Kept{Module: n.module.Name, Outputs: n.outputs, Artifacts: n.artifacts})
		}
	}
	return r.narrowed(again, start), kept, ""
}

func succeeded(n *node) bool { return n.status == report.Succeeded || n.status == report.Cached }

// called are the modules of a name, of a family all members.
func (r *Run) called(name string) (found []int) {
	for _, n := range r.nodes {
		if strings.EqualFold(n.module.Name, name) || n.module.Family != "" && strings.EqualFold(n.module.Family, name) {
			found = append(found, n.index)
		}
	}
	return found
}

// require adds what modules need and is not kept.
func (r *Run) require(again []bool, start bool) {
	var list []int
	for i, yes := range again {
		if yes {
			list = append(list, i)
		}
	}
	for len(list) > 0 {
		i := list[len(list)-1]
		list = list[:len(list)-1]
		for _, e := range r.nodes[i].group.edges {
			if t := r.nodes[e.target]; !e.optional && !again[t.index] && (start || !succeeded(t)) {
				again[t.index] = true
				list = append(list, t.index)
			}
		}
	}
}

// narrowed is the pipeline with those modules selected that are done again or
// kept. A family takes part when one of its members does.
func (r *Run) narrowed(again []bool, start bool) *pipeline.Pipeline {
	in := map[string]bool{}
	for _, n := range r.nodes {
		if again[n.index] || !start && succeeded(n) {
			in[n.module.Name], in[n.module.Family] = true, true
		}
	}
	p := *r.pipeline
	p.Modules = slices.Clone(p.Modules)
	for i, m := range p.Modules {
		c := *m
		c.Unselected = !in[m.Name] && (m.Dynamic == nil || !in[m.Family])
		p.Modules[i] = &c
	}
	return &p
}

// Kept is what of an ended run need not be done when it is done again: the
// modules that have succeeded and that follow nothing which is done again.
func (r *Run) Kept() []jobs.Kept {
	again := r.doneAgain()
	kept := []jobs.Kept{}
	for _, n := range r.inOrder() {
		if !again[n.index] && n.status != report.Skipped {
			kept = append(kept, jobs.Kept{Module: n.module.Name, Outputs: n.outputs, Artifacts: n.artifacts})
		}
	}
	return kept
}

// doneAgain marks the modules that ended otherwise than by success or a skip,
// and all that follow them: a module that always runs, or ran in spite of a
// failure, may end otherwise this time.
func (r *Run) doneAgain() []bool {
	again := make([]bool, len(r.nodes))
	for _, n := range r.nodes {
		again[n.index] = !succeeded(n) && n.status != report.Skipped && !n.expanded
	}
	r.follow(again, func(*node) bool { return true })
	return again
}

// follow marks all that follow what is marked, as far as they are wanted.
func (r *Run) follow(marked []bool, wanted func(*node) bool) {
	dependents := make([][]*group, len(r.nodes))
	var list []int
	for _, n := range r.nodes {
		if marked[n.index] {
			list = append(list, n.index)
		}
		if int(n.group.members[0]) != n.index {
			continue
		}
		for _, e := range n.group.edges {
			dependents[e.target] = append(dependents[e.target], n.group)
		}
	}
	for len(list) > 0 {
		i := list[len(list)-1]
		list = list[:len(list)-1]
		for _, g := range dependents[i] {
			for _, d := range g.members {
				if !marked[d] && wanted(r.nodes[d]) {
					marked[d] = true
					list = append(list, int(d))
				}
			}
		}
	}
}
