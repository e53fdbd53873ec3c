package schedule

import "github.com/modpipe/modpipe/jobs"

// Kept is what of an ended run need not be done when it is done again: the
// modules that have succeeded and that follow nothing which is done again.
func (r *Run) Kept() []jobs.Kept {
	again := r.doneAgain()
	kept := []jobs.Kept{}
	for _, n := range r.inOrder() {
		if !again[n.index] && n.status != jobs.Skipped {
			kept = append(kept, jobs.Kept{Module: n.module.Name, Outputs: n.outputs})
		}
	}
	return kept
}

// doneAgain marks the modules that ended otherwise than by success or a skip,
// and all that follow them: a module that always runs, or ran in spite of a
// failure, may end otherwise this time.
func (r *Run) doneAgain() []bool {
	again, dependents := make([]bool, len(r.nodes)), make([][]*group, len(r.nodes))
	var list []int
	for _, n := range r.nodes {
		if s := n.status; s != jobs.Succeeded && s != jobs.Cached && s != jobs.Skipped && !n.expanded {
			again[n.index] = true
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
				if !again[d] {
					again[d] = true
					list = append(list, int(d))
				}
			}
		}
	}
	return again
}
