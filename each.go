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
	call func(context.Context, []byte) (any, error)
}

// Each adds a family: fn once for each element of a list that is known only
// when the run has made it, at most 10,000, in parallel as far as workers and
// options allow. list is the value that an Add has returned. Members are named
// by the elements, or the field Name of these, where that is short, plain and
// distinct ("load (item=orders)"), else by their numbers ("load (index=0)").
// Their results come in the order of the list; an empty list ends the family
// skipped.
func Each[A, T any](b *Builder, name string, list Value[[]A], fn func(context.Context, A) (T, error), opts ...Option) Value[[]T] {
	at := caller()
	m := b.newModule(name, at, reflect.TypeFor[T]())
	m.execute(&executor{at: at, inputs: []*source{list.src}})
	if fn == nil {
		b.fault(at, "", "%s: the function is nil", name)
	}
	m.each = &each{call: func(ctx context.Context, item []byte) (any, error) {
		var a A
		if err := wire.Decode(item, &a); err != nil {
			return nil, Permanent(fmt.Errorf("read an element of %s: %w", m.each.list, err))
		}
		return fn(ctx, a)
	}}
	if list.src != nil {
		m.each.of(m, list.src)
	}
	m.options(opts)
	return eachResult[T](m)
}

// of finds the one module that a list is the result of.
func (e *each) of(m *module, src *source) {
	if len(src.edges) == 1 && !src.edges[0].optional {
		if of := m.b.byName[src.edges[0].name]; of != nil && of.each == nil && of.result.Kind() == reflect.Slice && src.direct {
			e.list = of.name
			return
		}
	}
	m.b.fault(m.at, "make it the result of a module of its own", "%s: Each takes the list that one Add has returned", m.name)
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
		if slices.ContainsFunc(pairs, func(p pipeline.Pair) bool { return in.req.Matrix[p.Axis] == p.Value }) {
			return items[i], nil
		}
	}
	return nil, fmt.Errorf("the result of %s has no element for %s", list, in.req.Module)
}

// eachResult gathers the results of the members.
func eachResult[T any](m *module) Value[[]T] {
	src := &source{b: m.b, at: m.at, edges: []edge{{name: m.name, at: m.at, reads: true}}}
	return Value[[]T]{src, func(in *inputs) ([]T, error) {
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
