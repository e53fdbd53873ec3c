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
	upstreams map[upstreamsKey][]gathered
	needs     pipeline.NeedLists
	digests   map[int]string // of a list of needs, by its number
}

// upstreamsKey finds a list of upstreams, with few others.
type upstreamsKey struct {
	first, last *upstream
	n           int
}

// gathered is the upstream of a list of others.
type gathered struct {
	of []*upstream
	up *upstream
}

// together is an upstream with the needs of others: the same one for the same
// others, so that modules share it. It is never changed.
func together(upstreams []*upstream, at callSite) *upstream {
	if len(upstreams) < 2 || slices.Contains(upstreams, nil) || upstreams[0].b == nil {
		return joined(at, upstreams...)
	}
	known := &upstreams[0].b.shared
	key := upstreamsKey{upstreams[0], upstreams[len(upstreams)-1], len(upstreams)}
	for _, g := range known.upstreams[key] {
		if slices.Equal(g.of, upstreams) {
			return g.up
		}
	}
	if known.upstreams == nil {
		known.upstreams = map[upstreamsKey][]gathered{}
	}
	up := joined(at, upstreams...)
	known.upstreams[key] = append(known.upstreams[key], gathered{upstreams, up})
	return up
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
	of := &m.taken[0].up.needs[0]
	if m.taken[0].reads {
		of = &m.taken[0].up.needs[1]
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
		for _, e := range t.up.edges {
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
