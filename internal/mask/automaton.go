package mask

import (
	"cmp"
	"slices"
)

// automaton finds all of many texts in one pass (Aho and Corasick, 1975). A state is
// the longest end of what was read that begins one of the texts. States are numbered
// breadth first, so that those which follow one state are consecutive: a state takes
// 21 bytes. 0 is the state in which nothing has begun.
type automaton struct {
	next  []int32 // the first state that follows; those of the next state end them
	label []byte  // by which a state is reached
	fall  []int32 // the state of the longest shorter end of what was read
	depth []int32 // how many bytes have begun a text
	ends  []int32 // length of the longest text that ends here; 0 = none does
	owner []int32 // of that text
	start [256]int32
	pairs [1 << 10]uint64 // which two bytes begin a text, at first<<8|second
}

// text is one text to find, and which secret it belongs to.
type text struct {
	bytes string
	owner int32
}

// span is the texts that begin alike, and how many bytes they share.
type span struct{ from, to, depth int }

// newAutomaton builds the automaton of texts of at least two bytes each.
func newAutomaton(texts []text) *automaton {
	slices.SortStableFunc(texts, func(a, b text) int { return cmp.Compare(a.bytes, b.bytes) })
	texts = slices.CompactFunc(texts, func(a, b text) bool { return a.bytes == b.bytes })
	a := sized(states(texts))
	for _, t := range texts {
		pair := int(t.bytes[0])<<8 | int(t.bytes[1])
		a.pairs[pair>>6] |= 1 << (pair & 63)
	}
	a.add(0, 0)
	spans := make([]span, 1, cap(a.label))
	spans[0] = span{0, len(texts), 0}
	for state := 0; state < len(spans); state++ {
		s := spans[state]
		if s.from < s.to && len(texts[s.from].bytes) == s.depth { // the shortest comes first
			a.ends[state], a.owner[state] = a.depth[state], texts[s.from].owner
			s.from++
		}
		a.next = append(a.next, int32(len(spans)))
		for s.from < s.to {
			label, to := texts[s.from].bytes[s.depth], s.from+1
			for to < s.to && texts[to].bytes[s.depth] == label {
				to++
			}
			a.add(label, int32(s.depth+1))
			spans = append(spans, span{s.from, to, s.depth + 1})
			s.from = to
		}
	}
	a.next = append(a.next, int32(len(spans)))
	a.link()
	return a
}

// states counts the states of sorted texts: those that begin alike share them.
func states(texts []text) int {
	n, last := 1, ""
	for _, t := range texts {
		common := 0
		for common < min(len(last), len(t.bytes)) && last[common] == t.bytes[common] {
			common++
		}
		n, last = n+len(t.bytes)-common, t.bytes
	}
	return n
}

func sized(n int) *automaton {
	list := func() []int32 { return make([]int32, 0, n+1) }
	return &automaton{next: list(), label: make([]byte, 0, n), fall: list(), depth: list(), ends: list(), owner: list()}
}

func (a *automaton) add(label byte, depth int32) {
	a.label, a.depth = append(a.label, label), append(a.depth, depth)
	a.fall, a.ends, a.owner = append(a.fall, 0), append(a.ends, 0), append(a.owner, 0)
}

// link sets where states fall, and the texts that end inside longer ones.
func (a *automaton) link() {
	for c := a.next[0]; c < a.next[1]; c++ {
		a.start[a.label[c]] = c
	}
	for state := int32(1); int(state) < len(a.fall); state++ {
		fall := a.fall[state]
		if a.ends[state] == 0 {
			a.ends[state], a.owner[state] = a.ends[fall], a.owner[fall]
		}
		for c := a.next[state]; c < a.next[state+1]; c++ {
			a.fall[c] = a.step(fall, a.label[c])
		}
	}
}

// step is the state after another byte.
func (a *automaton) step(state int32, b byte) int32 {
	for state != 0 {
		for c := a.next[state]; c < a.next[state+1]; c++ {
			if a.label[c] == b {
				return c
			}
		}
		state = a.fall[state]
	}
	return a.start[b]
}

// skip returns how many bytes cannot begin a text. The last byte always may.
func (a *automaton) skip(data []byte) int {
	for i := 0; i+1 < len(data); i++ {
		pair := int(data[i])<<8 | int(data[i+1])
		if a.pairs[pair>>6]&(1<<(pair&63)) != 0 {
			return i
		}
	}
	return max(0, len(data)-1)
}

// scan reads data and calls found with each place where a text ends, with the longest
// that does. It returns the state after data.
func (a *automaton) scan(state int32, data []byte, found func(end int, length, owner int32) (stop bool)) int32 {
	for i := 0; i < len(data); i++ {
		if state == 0 {
			i += a.skip(data[i:])
		}
		state = a.step(state, data[i])
		if n := a.ends[state]; n > 0 && found(i+1, n, a.owner[state]) {
			return state
		}
	}
	return state
}
