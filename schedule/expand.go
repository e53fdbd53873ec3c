package schedule

import (
	"fmt"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// applyExpansion puts the members of a family in its placeholder's place.
func (r *Run) applyExpansion(x *jobs.Expansion) error {
	i, ok := r.byToken[x.Module]
	if !ok || r.nodes[i].module.Dynamic == nil || r.nodes[i].expanded {
		return r.corrupt("an expansion of %q, which is no family that waits for one", x.Module)
	}
	p := r.nodes[i]
	if p.status.Terminal() {
		return nil // it had ended when the expansion was written
	}
	if len(x.Combinations) == 0 {
		r.endSelf(p, report.Skipped, "its matrix is empty", "")
		return nil
	}
	members, err := r.pipeline.Members(p.module, x.Combinations)
	if err != nil {
		return fmt.Errorf("%w: the members of %s: %w", ErrCorrupt, p.module.Name, err)
	}
	p.expanded = true
	r.countOff(p)
	r.event(report.Event{Event: report.EventFamilyExpanded, Module: p.module.Name, Modules: len(members)})
	indices := make([]int, 0, len(members))
	for k, m := range members {
		indices = append(indices, r.add(m, [2]int{p.order[0], k + 1}).index)
	}
	r.families[p.module.Family] = indices
	for _, k := range indices {
		r.join(r.nodes[k])
	}
	r.reconnect(p)
	r.computePaths(nil)
	r.settled = append(r.settled, indices...)
	r.settle()
	return nil
}
