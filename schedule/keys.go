package schedule

import (
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// holdings are the keys and limits that some attempts hold together.
type holdings struct {
	keys, limits map[string]int // by name: attempts
	alone        int            // attempts of modules that run alone
	all          int
}

// add counts an attempt of a module in (1) or out (−1).
func (h *holdings) add(p *pipeline.Policy, by int) {
	if h.keys == nil {
		h.keys, h.limits = map[string]int{}, map[string]int{}
	}
	h.all += by
	if p.Exclusive {
		h.alone += by
	}
	for _, k := range p.Keys {
		h.keys[k] += by
	}
	for _, l := range p.Limits {
		h.limits[l] += by
	}
}

// fits reports whether an attempt of a module may start beside what others
// hold: what the log has granted, and what is about to be.
func fits(p *pipeline.Policy, limits map[string]int, others ...*holdings) bool {
	taken := map[string]int{}
	for _, h := range others {
		if h.alone > 0 || (p.Exclusive && h.all > 0) {
			return false
		}
		for _, k := range p.Keys {
			if h.keys[k] > 0 {
				return false
			}
		}
		for _, l := range p.Limits {
			taken[l] += h.limits[l]
		}
	}
	for _, l := range p.Limits {
		if taken[l] >= limits[l] {
			return false
		}
	}
	return true
}

// needsGrant reports whether attempts of the module claim before they start:
// it has a key or a limit, or some module of the run has to be alone.
func (r *Run) needsGrant(n *node) bool {
	p := &n.module.Policy
	return r.keyed || len(p.Keys) > 0 || len(p.Limits) > 0
}

func (r *Run) applyGrant(g *jobs.Grant) error {
	for _, k := range g.Attempts {
		i, ok := r.byToken[k.Module]
		if !ok {
			return r.corrupt("a grant to %q, which is no module of it", k.Module)
		}
		n := r.nodes[i]
		if n.status.Terminal() || k.Attempt != n.attempt || n.granted {
			continue // it had ended, or gone on, when the grant was written
		}
		n.granted = true
		r.held.add(&n.module.Policy, 1)
		r.changed = append(r.changed, n.index)
	}
	return nil
}

func (r *Run) releaseKeys(n *node) {
	if n.granted {
		n.granted = false
		r.released++
		r.held.add(&n.module.Policy, -1)
	}
}

// grant puts a node into the grant that is written next.
func (d *Dispatcher) grant(n *node) {
	d.granting[n.index] = true
	d.shadow.add(&n.module.Policy, 1)
}

// free reports whether the keys and limits of n can be granted now. One grant
// is written at a time.
func (d *Dispatcher) free(n *node) bool {
	return !d.writing && fits(&n.module.Policy, d.run.pipeline.Limits, &d.run.held, &d.shadow, &d.locking.held)
}
