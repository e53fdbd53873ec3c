package modpipe

import (
	"fmt"
	"slices"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/internal/wire"
	"github.com/modpipe/modpipe/pipeline"
)

// Value represents the future result of a module. It cannot be read while
// the graph is built, only handed to an executor (Call1 and its like), to Map,
// All or Optional, to an If or a Command: to read is to need.
type Value[T any] struct {
	up  *upstream
	get func(*inputs) (T, error)
}

// Need is anything that a module can wait for: any Value.
type Need interface{ need() *upstream }

func (v Value[T]) need() *upstream { return v.up }

// upstream is the modules from which a value comes, without its type.
type upstream struct {
	b      *Builder
	at     callSite
	edges  []edge
	direct bool             // the very result of one module
	seen   map[edgeKey]bool // while others join it

	needs [2][]pipeline.Need // of a module that takes this alone, without and with reading it; nil until one has
}

// edgeKey is what makes two edges of an upstream the same.
type edgeKey struct {
	name, artifact  string
	optional, reads bool
}

// edge is the need of one module, by its declared name.
type edge struct {
	name     string
	at       callSite // where it is read
	optional bool
	reads    bool   // its result, and not only how it ended
	artifact string // that is meant by it; "" = none
}

// All gathers values into one: the fan-in.
func All[T any](values ...Value[T]) Value[[]T] {
	upstreams := make([]*upstream, len(values))
	for i, v := range values {
		upstreams[i] = v.up
	}
	return Value[[]T]{together(upstreams, caller()), func(in *inputs) ([]T, error) {
		list := make([]T, len(values))
		for i, v := range values {
			var err error
			if list[i], err = v.get(in); err != nil {
				return nil, err
			}
		}
		return list, nil
	}}
}

// Map applies f to a value where it is read. f must be pure: it runs in every
// process that reads the value, and again in every attempt.
func Map[A, B any](v Value[A], f func(A) B) Value[B] {
	up := joined(caller(), v.up)
	if f == nil && up.b != nil {
		up.b.fault(up.at, "", "Map has no function")
	}
	return Value[B]{up, func(in *inputs) (B, error) {
		a, err := v.get(in)
		if err != nil {
			var zero B
			return zero, err
		}
		return f(a), nil
	}}
}

// Map2 applies f to two values where the result is read. f must be pure, as
// that of Map.
func Map2[A, B, C any](a Value[A], b Value[B], f func(A, B) C) Value[C] {
	up := joined(caller(), a.up, b.up)
	if f == nil && up.b != nil {
		up.b.fault(up.at, "", "Map2 has no function")
	}
	return Value[C]{up, func(in *inputs) (c C, err error) {
		av, err := a.get(in)
		if err != nil {
			return c, err
		}
		bv, err := b.get(in)
		if err != nil {
			return c, err
		}
		return f(av, bv), nil
	}}
}

// Optional makes needs of a value's modules that may have been skipped, or
// have failed with the failure ignored: its reader runs all the same, and
// finds nil. A module that always runs reads results so.
func Optional[T any](v Value[T]) Value[*T] {
	up := joined(caller(), v.up)
	for i := range up.edges {
		up.edges[i].optional = true
	}
	return Value[*T]{up, func(in *inputs) (*T, error) {
		for _, e := range up.edges {
			if e.reads && !in.has(e.name) {
				return nil, nil
			}
		}
		t, err := v.get(in)
		if err != nil {
			return nil, err
		}
		return &t, nil
	}}
}

// Outcome is how a module ended.
type Outcome struct {
	Module string
	Status string // succeeded, cached, skipped, failed, timed_out, ignored_failure, dependency_failed or cancelled
	Reason string // why it was skipped or cancelled, or the error; empty when it succeeded
}

// Succeeded reports whether the module has a result.
func (o Outcome) Succeeded() bool { return o.Status == "succeeded" || o.Status == "cached" }

// String is the outcome in one line: publish was skipped: only main is published.
func (o Outcome) String() string {
	if o.Reason == "" {
		return o.Module + ": " + o.Status
	}
	return o.Module + ": " + o.Status + ": " + o.Reason
}

// Outcomes tells how modules ended, as optional needs, in the order of needs.
func Outcomes(needs ...Need) Value[[]Outcome] {
	at := caller()
	var upstreams []*upstream
	for _, n := range needs {
		if n != nil {
			upstreams = append(upstreams, n.need())
		}
	}
	up := joined(at, upstreams...)
	up.named()
	return Value[[]Outcome]{up, func(in *inputs) ([]Outcome, error) {
		list := make([]Outcome, len(up.edges))
		for i, e := range up.edges {
			n := in.req.Needs[e.name]
			list[i] = Outcome{Module: e.name, Status: n.Status, Reason: n.Reason}
		}
		return list, nil
	}}
}

// named removes edges that have the same module as an earlier one.
func (s *upstream) named() {
	seen := make(map[string]bool, len(s.edges))
	s.edges = slices.DeleteFunc(s.edges, func(e edge) bool {
		twice := seen[e.name] && e.name != ""
		seen[e.name] = true
		return twice
	})
	for i := range s.edges {
		s.edges[i].optional, s.edges[i].reads, s.edges[i].artifact = true, false, ""
	}
}

// joined is a separate upstream with the needs of others.
func joined(at callSite, upstreams ...*upstream) *upstream {
	up := &upstream{at: at}
	for _, s := range upstreams {
		up.join(s)
	}
	up.seen = nil
	return up
}

// join adds the needs of another upstream. The first builder decides; a second
// one is a fault.
func (s *upstream) join(other *upstream) {
	if other == nil {
		s.edges = append(s.edges, edge{at: s.at}) // the zero Value: found when it is read
		return
	}
	if s.b == nil {
		s.b = other.b
	}
	if other.b != nil && s.b != other.b {
		s.b.foreign(s.at)
	}
	for _, e := range other.edges {
		if !s.has(e) {
			s.edges = append(s.edges, e)
		}
	}
}

// has reports whether an edge is there already, and notes it.
func (s *upstream) has(e edge) bool {
	if s.seen == nil {
		s.seen = make(map[edgeKey]bool, len(s.edges)+1)
		for _, have := range s.edges {
			s.seen[edgeKey{have.name, have.artifact, have.optional, have.reads}] = true
		}
	}
	key := edgeKey{e.name, e.artifact, e.optional, e.reads}
	there := s.seen[key]
	s.seen[key] = true
	return there
}

// zero finds a value among them that no Add has returned.
func (s *upstream) zero() (callSite, bool) {
	for _, e := range s.edges {
		if e.name == "" {
			return e.at, true
		}
	}
	return callSite{}, false
}

// inputs has the values that a function reads.
type inputs struct{ req *call.Request }

// has reports whether a need has a result.
func (in *inputs) has(name string) bool {
	n := in.req.Needs[name]
	return Outcome{Status: n.Status}.Succeeded()
}

// result is the encoded result of a Go module.
func (in *inputs) result(name string) ([]byte, error) {
	n, ok := in.req.Needs[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("read the result of %s: it is no need of %s", name, in.req.Module)
	case !in.has(name):
		return nil, fmt.Errorf("read the result of %s: it has none: it is %s", name, n.Status)
	case !n.Typed:
		return nil, fmt.Errorf("read the result of %s: it is no Go module", name)
	}
	return n.Result, nil
}

// resultOf is the value of a module of this definition.
func resultOf[T any](m *module) Value[T] {
	up := &upstream{b: m.b, at: m.at, direct: true, edges: []edge{{name: m.name, at: m.at, reads: true}}}
	return Value[T]{up, func(in *inputs) (T, error) {
		var t T
		data, err := in.result(m.name)
		if err != nil {
			return t, err
		}
		if err := wire.Decode(data, &t); err != nil {
			return t, fmt.Errorf("read the result of %s: %w", m.name, err)
		}
		return t, nil
	}}
}
