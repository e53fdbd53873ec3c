package schedule

import (
	"slices"
	"strconv"
	"time"

	"github.com/modpipe/modpipe/report"
)

// Estimate tells the run how long its modules are expected to take, by name,
// from earlier runs. It orders what is ready and decides nothing else.
func (r *Run) Estimate(took map[string]time.Duration) { r.computePaths(took) }

// Durations are how long the modules that succeeded have taken.
func (r *Run) Durations() map[string]time.Duration {
	took := map[string]time.Duration{}
	for _, n := range r.nodes {
		if n.status == report.Succeeded && !n.begun.IsZero() {
			took[n.module.Name] = max(0, n.ended.Sub(n.begun))
		}
	}
	return took
}

// computePaths sets each node's longest remaining path: its own estimated
// duration and the longest path behind it. estimates are by module name;
// what has none counts as the median of the others, a second without any.
func (r *Run) computePaths(estimates map[string]time.Duration) {
	if estimates != nil {
		r.estimates = estimates
	}
	median := medianOf(r.estimates)
	order, behind := r.byNeeds()
	for _, i := range slices.Backward(order) {
		n := r.nodes[i]
		own, ok := r.estimates[n.module.Name]
		if !ok {
			own = median
		}
		n.path = own
		for _, g := range behind[i] {
			n.path = max(n.path, own+g.path) // all its members come after i
		}
		n.group.path = max(n.group.path, n.path)
	}
}

// byNeeds lists all nodes, each after those that it needs, and for each the
// groups that need it.
func (r *Run) byNeeds() (order []int32, behind [][]*group) {
	behind = make([][]*group, len(r.nodes))
	order = make([]int32, 0, len(r.nodes))
	for _, n := range r.nodes {
		g := n.group
		if len(g.edges) == 0 {
			order = append(order, int32(n.index))
			continue
		}
		if int(g.members[0]) != n.index {
			continue
		}
		g.path, g.ahead = 0, len(g.edges)
		for _, e := range g.edges {
			behind[e.target] = append(behind[e.target], g)
		}
	}
	for k := 0; k < len(order); k++ {
		for _, g := range behind[order[k]] {
			if g.ahead--; g.ahead == 0 {
				order = append(order, g.members...)
			}
		}
	}
	return order, behind
}

func medianOf(estimates map[string]time.Duration) time.Duration {
	if len(estimates) == 0 {
		return time.Second
	}
	all := make([]time.Duration, 0, len(estimates))
	for _, d := range estimates {
		all = append(all, d)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// before orders what is ready: priority, then longest remaining path, then
// the order of the file.
func before(a, b *node) bool {
	if p, q := a.module.Policy.Priority, b.module.Policy.Priority; p != q {
		return p > q
	}
	if a.path != b.path {
		return a.path > b.path
	}
	if a.order[0] != b.order[0] {
		return a.order[0] < b.order[0]
	}
	return a.order[1] < b.order[1]
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}
