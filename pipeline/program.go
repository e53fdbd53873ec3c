package pipeline

import (
	"cmp"
	"fmt"
	"slices"
)

// Program names the program that holds a pipeline's Go functions: its name,
// the digest of its executable and that of the graph that its definition
// makes. A worker of another program, or of one whose definition gives
// another graph, never takes its jobs.
type Program struct {
	Name  string `msgpack:"name"`
	Build string `msgpack:"build"` // hex of a SHA-256
	Graph string `msgpack:"graph"` // hex of a SHA-256
}

// String is the program as messages name it: release (build 1a2b3c4d5e6f).
func (p Program) String() string { return p.Name + " (build " + Short(p.Build) + ")" }

// Short is the beginning of a digest, as people compare it.
func Short(digest string) string { return digest[:min(12, len(digest))] }

// Func is an executor that a worker finds in its own program: a Go function,
// or beside a Command what prepares it (a condition, values from results).
type Func struct {
	Name string `msgpack:"name"`           // in the program: of the module, or of `uses: go:NAME`
	Uses bool   `msgpack:"uses,omitempty"` // it is named by a file, and reads With
	With []Var  `msgpack:"with,omitempty"` // of a file

	// Version stands for the program's digest in the fingerprint of a cached
	// module; "" = the digest itself counts.
	Version string `msgpack:"version,omitempty" json:",omitempty"`
}

// Axes of families that run once for each element of a list: the element, or
// its number.
const itemAxis, indexAxis = "item", "index"

// maxItemName is how long an element may be to name its member.
const maxItemName = 60

// Items names the members of a family that runs once for each element of a
// list: by the elements, or what these have as name, where that is short,
// plain and distinct, else by their numbers from 0.
func Items(list []any) [][]Coordinate {
	named := make([][]Coordinate, len(list))
	seen := map[string]bool{}
	for i, v := range list {
		if m, ok := v.(map[string]any); ok {
			if v = m["name"]; v == nil {
				v = m["Name"]
			}
		}
		v = exactNumbers(v)
		switch v.(type) {
		case string, int, float64, decimal, bool:
		default:
			return numbered(len(list))
		}
		text, err := textOf(v)
		if err != nil || text == "" || len(text) > maxItemName || seen[text] || validAxisValue(text) != nil {
			return numbered(len(list))
		}
		seen[text] = true
		named[i] = []Coordinate{{itemAxis, text}}
	}
	return named
}

func numbered(n int) [][]Coordinate {
	pairs := make([][]Coordinate, n)
	for i := range pairs {
		pairs[i] = []Coordinate{{indexAxis, fmt.Sprint(i)}}
	}
	return pairs
}

// itemsOf are the combinations of a placeholder that reads a list.
func itemsOf(m *Module, s Scope) ([][]Coordinate, error) {
	name := m.Dynamic.Reads[0]
	list, ok := s.Needs[name].Result.([]any)
	if !ok && s.Needs[name].Result != nil {
		return nil, fmt.Errorf("expand %s: the result of %s is not a list", m.Name, name)
	}
	if len(list) > maxMembers {
		return nil, fmt.Errorf("expand %s: the result of %s has %d elements, more than %d", m.Name, name, len(list), maxMembers)
	}
	return Items(list), nil
}

// membersOf copies the member that a placeholder carries.
func membersOf(m *Module, combinations [][]Coordinate) []*Module {
	members := make([]*Module, len(combinations))
	for i, pairs := range combinations {
		one := *m.Dynamic.Member
		one.Name, one.Family, one.Matrix = memberName(m.Family, pairs), m.Family, slices.Clone(pairs)
		one.Token = fmt.Sprintf("%s%d", m.Dynamic.Prefix, i)
		one.Needs, one.Unselected = m.Needs, m.Unselected
		members[i] = &one
	}
	return members
}

// Place is a position in the author's code.
type Place struct {
	File string
	Line int
}

// Assemble completes a pipeline whose modules were made by a program, or come
// from files that it includes (those have their tokens): tokens, families,
// requirements in lower case, defaults. It finds the same faults as the validator of a file.
// places has the positions of the modules, by their index. The error
// is a Faults.
func Assemble(p *Pipeline, places []Place) error {
	a := &assembler{p: p, places: places, keys: map[string]keyUse{}, seen: map[Fault]bool{}, cluster: map[string]bool{}}
	for _, l := range p.ClusterLimits {
		a.cluster[l] = true
	}
	if err := validTitle(p.Name); err != nil {
		a.faults = append(a.faults, Fault{Text: "name of the pipeline: " + err.Error()})
	}
	if len(p.Modules) == 0 {
		a.faults = append(a.faults, Fault{Text: "the pipeline has no module"})
	}
	if len(p.Modules) > maxModules {
		a.faults = append(a.faults, Fault{Text: fmt.Sprintf("the pipeline has more than %d modules", maxModules)})
	}
	a.names()
	a.tokens()
	a.families()
	for i, m := range p.Modules {
		a.module(i, m)
	}
	a.needs()
	if len(a.faults) == 0 {
		a.artifacts()
	}
	return a.err()
}

type assembler struct {
	p       *Pipeline
	places  []Place
	faults  Faults
	seen    map[Fault]bool
	keys    map[string]keyUse
	cluster map[string]bool // the limits that all runs share

	suggested int // faults for which corrections were looked for
}

// full reports whether nothing more is reported.
func (a *assembler) full() bool { return len(a.faults) >= MaxFaults }

// hint makes a suggestion, as long as some are left.
func (a *assembler) hint(suggest func() string) string {
	if a.suggested++; a.suggested > MaxSuggestions {
		return ""
	}
	return suggest()
}

func (a *assembler) fault(i int, suggestion, format string, args ...any) {
	if a.full() {
		return
	}
	f := Fault{Text: fmt.Sprintf(format, args...), Suggestion: suggestion}
	if i < len(a.places) {
		f.File, f.Line = a.places[i].File, a.places[i].Line
	}
	if !a.seen[f] {
		a.seen[f] = true
		a.faults = append(a.faults, f)
	}
}

func (a *assembler) err() error {
	if len(a.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(a.faults, func(x, y Fault) int {
		return cmp.Or(cmp.Compare(x.File, y.File), cmp.Compare(x.Line, y.Line))
	})
	return a.faults
}
