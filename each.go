package modpipe

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/modpipe/modpipe/internal/wire"
	"github.com/modpipe/modpipe/pipeline"
)

// each is what makes a family of a list.
type each struct {
	list string // the module whose result it is
	call func(context.Context, *inputs, []byte) (any, error)
}

// Each adds a family: fn once for each element of a list that is known only
// when the run has made it, at most 10,000, in parallel as far as workers and
// options allow. Members are named by the elements, or the field Name of
// these, where that is short, plain and distinct ("load (item=orders)"), else
// by their numbers ("load (index=0)"). Their results come in the order of the
// list; an empty list ends the family skipped.
//
// list is the value that an Add has returned, or follows from such values by
// Map, All or another Each. In the second case a module NAME-list computes it.
func Each[A, T any](b *Builder, name string, list Value[[]A], fn func(context.Context, A) (T, error), opts ...Option) Value[[]T] {
	f := family[A, T]{b, name, caller(), opts}
	if fn == nil {
		b.fault(f.at, "", "%s: the function is nil", name)
	}
	return f.add(list, nil, func(ctx context.Context, _ *inputs, a A) (T, error) { return fn(ctx, a) })
}

// EachWith is Each with a value that all members share, beside the element.
func EachWith[A, S, T any](b *Builder, name string, list Value[[]A], shared Value[S], fn func(context.Context, A, S) (T, error), opts ...Option) Value[[]T] {
	f := family[A, T]{b, name, caller(), opts}
	if fn == nil {
		b.fault(f.at, "", "%s: the function is nil", name)
	}
	if shared.up == nil {
		b.fault(f.at, "", "%s reads a value that no Add has returned", name)
		shared.up = &upstream{b: b, at: f.at}
	}
	return f.add(list, shared.up, func(ctx context.Context, in *inputs, a A) (t T, err error) {
		s, err := read(in, shared)
		if err != nil {
			return t, err
		}
		return fn(ctx, a, s)
	})
}

// family is a call of Each.
type family[A, T any] struct {
	b    *Builder
	name string
	at   callSite
	opts []Option
}

func (f family[A, T]) add(list Value[[]A], shared *upstream, fn func(context.Context, *inputs, A) (T, error)) Value[[]T] {
	list = f.direct(list)
	m := f.b.newModule(f.name, f.at, reflect.TypeFor[T]())
	inputs := []*upstream{list.up}
	if shared != nil {
		inputs = append(inputs, shared)
	}
	m.execute(&executor{at: f.at, inputs: inputs})
	m.each = &each{call: decoding(m, fn)}
	if list.up != nil {
		m.each.of(m, list.up)
	}
	m.options(f.opts)
	return eachResult[T](m)
}

// decoding is fn for an element as it travels.
func decoding[A, T any](m *module, fn func(context.Context, *inputs, A) (T, error)) func(context.Context, *inputs, []byte) (any, error) {
	return func(ctx context.Context, in *inputs, item []byte) (any, error) {
		var a A
		if err := wire.Decode(item, &a); err != nil {
			return nil, Permanent(fmt.Errorf("read an element of %s: %w", m.each.list, err))
		}
		return fn(ctx, in, a)
	}
}

// direct is a list that one module returns: processes without the program expand the
// family from the stored list. A list that follows from other values becomes the
// result of a separate module.
func (f family[A, T]) direct(list Value[[]A]) Value[[]A] {
	if list.up == nil || list.up.b != f.b || list.up.isList() {
		return list
	}
	m := f.b.newModule(f.name+"-list", f.at, reflect.TypeFor[[]A]())
	m.execute(&executor{at: f.at, inputs: []*upstream{list.up}, call: func(_ context.Context, in *inputs) (any, error) {
		return read(in, list)
	}})
	m.options(nil)
	return resultOf[[]A](m)
}

// isList reports whether a value is the very list that one module returns.
func (s *upstream) isList() bool {
	if len(s.edges) != 1 || s.edges[0].optional || !s.direct {
		return false
	}
	of := s.b.byName[s.edges[0].name]
	return of != nil && of.each == nil && of.result.Kind() == reflect.Slice
}

// of finds the one module that a list is the result of.
func (e *each) of(m *module, up *upstream) {
	if up.b == m.b && up.isList() {
		e.list = up.edges[0].name
		return
	}
	m.b.fault(m.at, "", "%s: Each has no list that a module of this pipeline returns", m.name)
}

// item finds the element that a member is for.
func item(in *inputs, list string) ([]byte, error) {
	data, err := in.result(list)
	if err != nil {
		return nil, err
	}
	items, err := wire.Elements(data)
	if err != nil {
		return nil, fmt.Errorf("read the result of %s: %w", list, err)
	}
	plain, err := wire.Plain(data)
	if err != nil {
		return nil, fmt.Errorf("read the result of %s: %w", list, err)
	}
	values, _ := plain.([]any)
	for i, pairs := range pipeline.Items(values) {
		if slices.ContainsFunc(pairs, func(p pipeline.Coordinate) bool { return in.req.Matrix[p.Axis] == p.Value }) {
			return items[i], nil
		}
	}
	return nil, fmt.Errorf("the result of %s has no element for %s", list, in.req.Module)
}

// eachResult gathers the results of the members.
func eachResult[T any](m *module) Value[[]T] {
	up := &upstream{b: m.b, at: m.at, edges: []edge{{name: m.name, at: m.at, reads: true}}}
	return Value[[]T]{up, func(in *inputs) ([]T, error) {
		n := in.req.Needs[m.name]
		results := make([]T, len(n.Members))
		for i, member := range n.Members {
			if !(Outcome{Status: member.Status}).Succeeded() {
				return nil, fmt.Errorf("read the results of %s: a member is %s", m.name, member.Status)
			}
			if err := wire.Decode(member.Result, &results[i]); err != nil {
				return nil, fmt.Errorf("read the results of %s: %w", m.name, err)
			}
		}
		return results, nil
	}}
}
