package content

import "context"

// Refs returns the digests to which a manifest refers. What it returns are
// manifests, too, or plain values, for which it returns none.
type Refs func(ctx context.Context, manifest Digest) ([]Digest, error)

// Marks is a set of values in use. The zero value is empty.
type Marks struct{ followed map[Digest]bool } // false = marked as plain content

// Add marks a value, and everything that it refers to by refs, unless refs is nil.
// It asks for the references of each value once.
func (m *Marks) Add(ctx context.Context, d Digest, refs Refs) error {
	if m.followed == nil {
		m.followed = map[Digest]bool{}
	}
	for open := []Digest{d}; len(open) > 0; {
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
func (m *Marks) Has(d Digest) bool {
	_, ok := m.followed[d]
	return ok
}
