package pipeline

import (
	"slices"
	"strings"
)

// Need is a direct need as it is written: on a module, or on a family, which
// is all its members, or those whose axes in Same have the values of mine.
type Need struct {
	Module   string   `msgpack:"module"` // the declared name, as the declaration spells it
	Optional bool     `msgpack:"optional,omitempty"`
	Same     []string `msgpack:"same,omitempty"`
	Use      Use      `msgpack:"use,omitempty" json:",omitempty"` // by a Go function
}

// Use is what a Go function has of a need; commands are told everything.
type Use uint8

// The uses, the larger include the smaller.
const (
	Waits Use = iota // nothing: it comes after it
	Hears            // how it has ended
	Reads            // its result, too
)

// NeedLists are distinct lists of needs. The modules of a layer all need the
// same: what is kept, sent or looked up once for each list is not done again
// for each module.
type NeedLists struct {
	Lists [][]Need

	byText map[string]int
	byHead map[listHead]int
}

// listHead is the address of a list in memory.
type listHead struct {
	first *Need
	n     int
}

// Number is the place of a list in Lists, from 1, where it is entered when no
// equal one is there; 0 for the empty list.
func (l *NeedLists) Number(needs []Need) int {
	if len(needs) == 0 {
		return 0
	}
	head := listHead{&needs[0], len(needs)}
	if n, ok := l.byHead[head]; ok {
		return n
	}
	if l.byHead == nil {
		l.byHead, l.byText = map[listHead]int{}, map[string]int{}
	}
	text := needsText(needs)
	n, ok := l.byText[text]
	if !ok {
		l.Lists = append(l.Lists, slices.Clip(needs))
		n = len(l.Lists)
		l.byText[text] = n
	}
	l.byHead[head] = n
	return n
}

// Shared is the list itself, or the equal one that was seen first.
func (l *NeedLists) Shared(needs []Need) []Need {
	if n := l.Number(needs); n > 0 {
		return l.Lists[n-1]
	}
	return needs
}

// needsText tells lists apart: names have no control characters.
func needsText(needs []Need) string {
	var b strings.Builder
	for _, n := range needs {
		b.WriteString(n.Module)
		b.WriteByte(1 + byte(n.Use)) // 1 to 3
		if n.Optional {
			b.WriteByte(4)
		}
		for _, axis := range n.Same {
			b.WriteByte(5)
			b.WriteString(axis)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
