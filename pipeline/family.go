package pipeline

import (
	"encoding/json"
	"fmt"
	"slices"
)

// template is the declaration of a family that is expanded while the run goes on.
type template struct {
	File   string `json:"file"`
	Prefix string `json:"prefix"` // of the tokens
	Tree   *node  `json:"tree"`   // with the defaults
}

func encodeTemplate(file, prefix string, tree *node) []byte {
	b, err := json.Marshal(template{file, prefix, tree})
	if err != nil {
		panic("pipeline: template: " + err.Error()) // plain data always encodes
	}
	return b
}

// expansion is what a placeholder needs to become its members.
type expansion struct {
	template
	*decoder
}

func (p *Pipeline) expansion(m *Module) (*expansion, error) {
	if m.Dynamic == nil {
		return nil, fmt.Errorf("expand %s: it has no members to come", m.Name)
	}
	var t template
	if err := json.Unmarshal(m.Dynamic.Template, &t); err != nil {
		return nil, fmt.Errorf("expand %s: read its template: %w", m.Name, err)
	}
	if !t.Tree.sound(0) || t.Tree.Kind != mapNode {
		return nil, fmt.Errorf("expand %s: its template is broken", m.Name)
	}
	c := newCollector(&fileText{name: t.File})
	return &expansion{t, &decoder{collector: c, e: p.evaluator(m), tree: t.Tree, limits: p.Limits}}, nil
}

// sound says whether a tree that came over the wire has the form of ours.
func (n *node) sound(depth int) bool {
	if n == nil || depth > maxDepth || n.Kind == mapNode && len(n.Keys) != len(n.Items) || n.Kind != mapNode && len(n.Keys) > 0 {
		return false
	}
	unsound := func(m *node) bool { return !m.sound(depth + 1) }
	return !slices.ContainsFunc(n.Keys, unsound) && !slices.ContainsFunc(n.Items, unsound)
}

// Combinations evaluates the axes of a placeholder: the matrix of each member,
// at most 10,000, none for an empty list. The error is a Faults.
func (p *Pipeline) Combinations(m *Module, s Scope) ([][]Coordinate, error) {
	if m.Dynamic != nil && m.Dynamic.Member != nil {
		return itemsOf(m, s)
	}
	x, err := p.expansion(m)
	if err != nil {
		return nil, err
	}
	reader := &matrixReader{collector: x.collector, e: x.e, tree: x.Tree.get("matrix"), family: m.Family, s: scopeOf(m, s)}
	combinations, ok := reader.combinations()
	if err := x.err(); err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("expand %s: its matrix is broken", m.Name)
	}
	return combinations, nil
}

// Members makes the modules of a family from its combinations; numbers (tokens) are their positions from 0.
// The error is a Faults.
func (p *Pipeline) Members(m *Module, combinations [][]Coordinate) ([]*Module, error) {
	if m.Dynamic != nil && m.Dynamic.Member != nil {
		return membersOf(m, combinations), nil
	}
	x, err := p.expansion(m)
	if err != nil {
		return nil, err
	}
	members := make([]*Module, len(combinations))
	for i, pairs := range combinations {
		one := x.member(m.Family, x.Prefix, i, slices.Clone(pairs))
		one.Needs, one.Outputs, one.Unselected = m.Needs, slices.Clone(m.Outputs), m.Unselected
		if one.Command != nil {
			p.passEnv(one)
		}
		members[i] = one
	}
	if err := x.err(); err != nil {
		return nil, err
	}
	return members, nil
}

// vocabulary is what the expressions of a bound module read. Names were checked by Parse.
func (p *Pipeline) vocabulary(m *Module) *vocabulary {
	s := m.vocabulary()
	s.pipeline = p.Name
	for name, v := range p.Params {
		switch exactNumbers(v).(type) {
		case int, decimal:
			s.params[name] = "number"
		case bool:
			s.params[name] = "boolean"
		default:
			s.params[name] = "string"
		}
	}
	for name := range s.needs {
		_, family := p.Families[name]
		s.needs[name] = needKind{family: family}
	}
	return s
}

func (m *Module) vocabulary() *vocabulary {
	s := &vocabulary{module: m.Name, lenient: true, always: m.Policy.AlwaysRun, reach: ready, params: map[string]string{}, needs: map[string]needKind{}}
	for _, n := range m.Needs {
		s.needs[n.Module] = needKind{}
	}
	return s
}

func (p *Pipeline) evaluator(m *Module) *evaluator {
	e := p.vocabulary(m).evaluator()
	e.params = p.ParamValues()
	if m.Dynamic == nil {
		e = e.withMatrix(m.Matrix)
	}
	return e
}

// scopeOf is what m sees: its direct needs.
func scopeOf(m *Module, s Scope) *runtimeScope {
	r := &runtimeScope{needs: map[string]NeedView{}, hash: s.HashFiles}
	for _, n := range m.Needs {
		view, ok := s.Needs[n.Module]
		if !ok {
			view = NeedView{Status: "skipped", Reason: "not in this run"}
		}
		r.needs[n.Module] = view
	}
	return r
}
