package modpipe

import (
	"crypto/sha256"
	"slices"

	"github.com/modpipe/modpipe/pipeline"
)

// shared has the lists of needs that modules of a definition have in common. All
// modules of a layer need the layer before: a hundred times a hundred needs are one
// list.
type shared struct {
	sources map[sourcesKey][]gathered
	needs   pipeline.NeedLists
	digests map[int]string // of a list of needs, by its number
}

// sourcesKey finds a list of sources, with few others.
type sourcesKey struct {
	first, last *source
	n           int
}

// gathered is the source of a list of others.
type gathered struct {
	of  []*source
	src *source
}

// together is a source with the needs of others: the same one for the same
// others, so that modules share it. It is never changed.
func together(sources []*source, at place) *source {
	if len(sources) < 2 || slices.Contains(sources, nil) || sources[0].b == nil {
		return joined(at, sources...)
	}
	known := &sources[0].b.shared
	key := sourcesKey{sources[0], sources[len(sources)-1], len(sources)}
	for _, g := range known.sources[key] {
		if slices.Equal(g.of, sources) {
			return g.src
		}
	}
	if known.sources == nil {
		known.sources = map[sourcesKey][]gathered{}
	}
	src := joined(at, sources...)
	known.sources[key] = append(known.sources[key], gathered{sources, src})
	return src
}

// allNeeds are the modules that m needs, each once, in the order of its values.
func (m *module) allNeeds() []pipeline.Need {
	if m.needs != nil || len(m.taken) == 0 {
		return m.needs
	}
	if len(m.taken) > 1 {
		m.needs = m.b.shared.needs.Shared(m.gather())
		return m.needs
	}
	of := &m.taken[0].src.needs[0]
	if m.taken[0].reads {
		of = &m.taken[0].src.needs[1]
	}
	if *of == nil {
		*of = m.b.shared.needs.Shared(m.gather())
	}
	m.needs = *of
	return m.needs
}

func (m *module) gather() []pipeline.Need {
	var needs []pipeline.Need
	at := map[string]int{}
	for _, t := range m.taken {
		for _, e := range t.src.edges {
			i, ok := at[e.name]
			switch {
			case e.name == "":
				continue // the zero Value: a fault
			case ok:
				needs[i].Optional = needs[i].Optional && e.optional
				needs[i].Use = max(needs[i].Use, t.use(e))
			default:
				at[e.name] = len(needs)
				needs = append(needs, pipeline.Need{Module: e.name, Optional: e.optional, Use: t.use(e)})
			}
		}
	}
	return needs
}

// digest is a hash of a list of needs.
func (s *shared) digest(needs []pipeline.Need) string {
	n := s.needs.Number(needs)
	if text, ok := s.digests[n]; ok {
		return text
	}
	if s.digests == nil {
		s.digests = map[int]string{}
	}
	sum := sha256.Sum256([]byte(describe(needs)))
	s.digests[n] = string(sum[:])
	return s.digests[n]
}
