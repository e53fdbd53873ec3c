package content

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// deepest bounds how deep values refer to each other. References are data of others
// and may form a circle.
const deepest = 8

// UsedAt takes into account that others than values use some of the values, and when
// they last did. It sets Used and sorts as List does.
func UsedAt(values []Stored, others map[Ref]time.Time) { use(values, others) }

// use sets when each value was last used: a value is used whenever one that refers to
// it is. It sorts the values by that, and those that were last used together so that a
// value follows those that refer to it.
func use(values []Stored, others map[Ref]time.Time) {
	at := make(map[Ref]*Stored, len(values))
	for i := range values {
		v := &values[i]
		v.Used, v.depth = v.Time, 0
		if t := others[v.Ref]; t.After(v.Used) {
			v.Used = t
		}
		at[v.Ref] = v
	}
	order := make([]*Stored, len(values))
	for i := range values {
		order[i] = &values[i]
	}
	slices.SortFunc(order, func(a, b *Stored) int { return b.Used.Compare(a.Used) }) // so that nearly every value is passed once
	for _, v := range order {
		v.pass(at)
	}
	slices.SortFunc(values, func(a, b Stored) int {
		return cmp.Or(a.Used.Compare(b.Used), cmp.Compare(a.depth, b.depth))
	})
}

// RefsIn returns the references of listed values.
func RefsIn(values []Stored) Refs {
	refs := make(map[Ref][]Ref, len(values))
	for i := range values {
		if len(values[i].Refs) > 0 {
			refs[values[i].Ref] = values[i].Refs
		}
	}
	return func(_ context.Context, of Ref) ([]Ref, error) { return refs[of], nil }
}

// pass makes what a value refers to as young and deeper than the value.
func (v *Stored) pass(at map[Ref]*Stored) {
	for _, ref := range v.Refs {
		child, ok := at[ref]
		if !ok || v.depth == deepest {
			continue
		}
		younger, deeper := v.Used.After(child.Used), v.depth+1 > child.depth
		if younger {
			child.Used = v.Used
		}
		if deeper {
			child.depth = v.depth + 1
		}
		if younger || deeper {
			child.pass(at)
		}
	}
}
