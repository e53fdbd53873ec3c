// Package waves computes in which wave each module of a pipeline can start: the
// first has modules without needs, each other one those whose last need is in
// the wave before it.
package waves

import "github.com/modpipe/modpipe/pipeline"

// Waves are the waves of one pipeline. Not safe for concurrent use.
type Waves struct {
	Needs *Needs
	known []int // wave by module; 0 = not computed yet
}

// New returns the waves of a pipeline.
func New(p *pipeline.Pipeline) *Waves {
	return &Waves{Needs: NewNeeds(p), known: make([]int, len(p.Modules))}
}

// Of is the wave of the module with this index, from 1. Modules that are not
// selected do not count.
func (w *Waves) Of(i int) int {
	if w.known[i] > 0 {
		return w.known[i]
	}
	wave := 1
	m := w.Needs.p.Modules[i]
	for _, n := range m.Needs {
		for _, j := range w.Needs.Of(m, n) {
			if !w.Needs.p.Modules[j].Unselected {
				wave = max(wave, w.Of(j)+1)
			}
		}
	}
	w.known[i] = wave
	return wave
}

// Needs finds the modules that a need names.
type Needs struct {
	p        *pipeline.Pipeline
	resolver *pipeline.Resolver
}

// NewNeeds returns the needs of a pipeline.
func NewNeeds(p *pipeline.Pipeline) *Needs {
	return &Needs{p: p, resolver: pipeline.NewResolver(p.Modules, p.Families)}
}

// Of returns the indices of the modules that a need of m names.
func (n *Needs) Of(m *pipeline.Module, need pipeline.Need) []int { return n.resolver.Resolve(m, need) }
