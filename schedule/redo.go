package schedule

import (
	"slices"
	"strings"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// Redo is the graph of a run that repeats an ended one, and the results that it
// keeps. modules are the modules to run redo, with those that follow them in the
// run, and with those that they need and that have no kept result. Without modules,
// everything that has not succeeded runs again. With start nothing is kept. unknown
// is a name in modules that no module or family has.
func (r *Run) Redo(modules []string, start bool) (p *pipeline.Pipeline, kept []jobs.Kept, unknown string) {
	switch {
	case len(modules) == 0 && start:
		return r.pipeline, []jobs.Kept{}, ""
	case len(modules) == 0:
		return r.pipeline, r.Kept(), ""
	}
	redo := make([]bool, len(r.nodes))
	for _, name := range modules {
		found := r.called(name)
		if len(found) == 0 {
			return nil, nil, name
		}
		for _, i := range found {
			redo[i] = true
		}
	}
	r.follow(redo, func(n *node) bool { return !n.module.Unselected })
	r.require(redo, start)
	kept = []jobs.Kept{}
	for _, n := range r.inOrder() {
		if !redo[n.index] && !start && succeeded(n) {
			kept = append(kept, jobs.Kept{Module: n.module.Name, Outputs: n.outputs, Artifacts: n.artifacts})
		}
	}
	return r.narrowed(redo, start), kept, ""
}

// succeeded reports whether n has a result that a repetition can keep.
func succeeded(n *node) bool {
	return !n.expired && (n.status == report.Succeeded || n.status == report.Cached)
}

// Expire says that artifacts of a module are not stored any more: a repetition of
// the run runs the module again.
func (r *Run) Expire(module string) {
	if i, ok := r.byName[module]; ok {
		r.nodes[i].expired = true
	}
}

// called are the modules of a name, of a family all members.
func (r *Run) called(name string) (found []int) {
	for _, n := range r.nodes {
		if strings.EqualFold(n.module.Name, name) || n.module.Family != "" && strings.EqualFold(n.module.Family, name) {
			found = append(found, n.index)
		}
	}
	return found
}

// require adds the modules that redone ones need and that have no kept result.
func (r *Run) require(redo []bool, start bool) {
	var list []int
	for i, yes := range redo {
		if yes {
			list = append(list, i)
		}
	}
	for len(list) > 0 {
		i := list[len(list)-1]
		list = list[:len(list)-1]
		for _, e := range r.nodes[i].group.edges {
			if t := r.nodes[e.target]; !e.optional && !redo[t.index] && (start || !succeeded(t)) {
				redo[t.index] = true
				list = append(list, t.index)
			}
		}
	}
}

// narrowed is the pipeline in which the redone and the kept modules are selected.
// A family is selected when one of its members is.
func (r *Run) narrowed(redo []bool, start bool) *pipeline.Pipeline {
	in := map[string]bool{}
	for _, n := range r.nodes {
		if redo[n.index] || !start && succeeded(n) {
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

// Kept are the results that a repetition of the run keeps: those of the modules
// that have succeeded and that follow no redone module.
func (r *Run) Kept() []jobs.Kept {
	redo := r.toRedo()
	kept := []jobs.Kept{}
	for _, n := range r.inOrder() {
		if !redo[n.index] && n.status != report.Skipped {
			kept = append(kept, jobs.Kept{Module: n.module.Name, Outputs: n.outputs, Artifacts: n.artifacts})
		}
	}
	return kept
}

// toRedo marks the modules that ended neither by success nor by a skip, and all
// that follow them: a module that always runs, or that ran in spite of a failure,
// may end differently this time.
func (r *Run) toRedo() []bool {
	redo := make([]bool, len(r.nodes))
	for _, n := range r.nodes {
		redo[n.index] = !succeeded(n) && n.status != report.Skipped && !n.expanded
	}
	r.follow(redo, func(*node) bool { return true })
	return redo
}

// follow marks the wanted modules that follow marked ones.
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
