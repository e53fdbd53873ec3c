// Package inorder restores the order of numbered values that several writers have
// sent. It may change at any time.
//
// A writer numbers its values from 1 and sends several without waiting for each. A
// lost value is sent again, and arrives behind later ones. A Buffer holds those back
// until the missing one arrives, or until it is unlikely to arrive.
package inorder

import (
	"maps"
	"slices"
)

const (
	// mostAhead is how many values of a writer wait for a missing one. A writer
	// sends no more without an acknowledgement.
	mostAhead = 64
	// beatsAhead is for how many beats they wait while nothing arrives.
	beatsAhead = 10
)

// Buffer hands on the values V of every writer W by their numbers, once.
type Buffer[W comparable, V any] struct {
	next   func(V) error
	newest map[W]int
	ahead  map[W]map[int]V // values that came before an earlier one
	beats  int             // since the last arrival
}

// New returns a buffer that hands values on to next. An error of next is returned to
// the caller of the buffer.
func New[W comparable, V any](next func(V) error) *Buffer[W, V] {
	return &Buffer[W, V]{next: next, newest: map[W]int{}, ahead: map[W]map[int]V{}}
}

// Add takes the next value in the order of arrival. It drops one whose number was
// handed on.
func (b *Buffer[W, V]) Add(w W, number int, v V) error {
	b.beats = 0
	switch {
	case number <= b.newest[w]:
		return nil
	case number == b.newest[w]+1:
		if err := b.hand(w, number, v); err != nil {
			return err
		}
		return b.follow(w)
	}
	if b.ahead[w] == nil {
		b.ahead[w] = map[int]V{}
	}
	b.ahead[w][number] = v
	if len(b.ahead[w]) > mostAhead { // the one before it is lost for good
		return b.skip(w)
	}
	return nil
}

func (b *Buffer[W, V]) hand(w W, number int, v V) error {
	if err := b.next(v); err != nil {
		return err
	}
	b.newest[w] = number
	return nil
}

// follow hands on the values that directly follow the newest one of a writer.
func (b *Buffer[W, V]) follow(w W) error {
	for {
		number := b.newest[w] + 1
		v, ok := b.ahead[w][number]
		if !ok {
			break
		}
		delete(b.ahead[w], number)
		if err := b.hand(w, number, v); err != nil {
			return err
		}
	}
	if len(b.ahead[w]) == 0 {
		delete(b.ahead, w)
	}
	return nil
}

// skip gives up on the values that are missing before the first waiting one.
func (b *Buffer[W, V]) skip(w W) error {
	first := slices.Min(slices.Collect(maps.Keys(b.ahead[w])))
	b.newest[w] = first - 1
	return b.follow(w)
}

// Flush hands on all waiting values.
func (b *Buffer[W, V]) Flush() error {
	for w := range b.ahead {
		for len(b.ahead[w]) > 0 {
			if err := b.skip(w); err != nil {
				return err
			}
		}
	}
	return nil
}

// Beat counts a time in which nothing arrived.
func (b *Buffer[W, V]) Beat() error {
	b.beats++
	if b.beats < beatsAhead {
		return nil
	}
	return b.Flush()
}
