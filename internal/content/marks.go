package content

import "context"

// Refs returns the values to which a manifest refers. What it returns are
// manifests, too, or plain values, for which it returns none.
type Refs func(ctx context.Context, manifest Ref) ([]Ref, error)

// Marks is a set of values in use. The zero value is empty.
type Marks struct{ followed map[Ref]bool } // false = marked as plain content

// Add marks a value, and everything that it refers to by refs, unless refs is nil.
// It asks for the references of each value once.
func (m *Marks) Add(ctx context.Context, value Ref, refs Refs) error {
	if m.followed == nil {
		m.followed = map[Ref]bool{}
	}
	for open := []Ref{value}; len(open) > 0; {
		next := open[len(open)-1]
		open = open[:len(open)-1]
		if m.followed[next] {
			continue
		}
		m.followed[next] = refs != nil
		if refs == nil {
			continue
		}
		more, err := refs(ctx, next)
		if err != nil {
			return err
		}
		open = append(open, more...)
	}
	return nil
}

// Has reports whether a value is marked.
func (m *Marks) Has(value Ref) bool {
	_, ok := m.followed[value]
	return ok
}
