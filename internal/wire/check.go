package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Errors of Check.
var (
	ErrShape     = errors.New("not well-formed msgpack")
	ErrTooCostly = errors.New("decoding it would take too much memory")
)

const (
	// usualDepth is how deep arrays and maps nest at most, as a rule.
	usualDepth = 32
	// elementCost is the least that an element of a list or map is charged.
	elementCost = 64
	// mapCost is what a map occupies before its entries.
	mapCost = 48
	// mapGroup is how many entries the smallest map has room for.
	mapGroup = 8
)

// Bounds are what a decoded value may take.
type Bounds struct {
	Depth  int   // of arrays and maps in each other
	Memory int64 // bytes: each element of a list or a map counts 64, or what it occupies if that is more
}

// Check walks one msgpack value of this shape. It holds that every length fits
// what is there, that nothing follows, and that the decoded value stays within
// the bounds. It allocates nothing for a claim, so that a decoder can then
// trust the lengths that it reads. ErrShape, ErrTooCostly.
func Check(data []byte, shape *Shape, most Bounds) error {
	var first [usualDepth]level
	w := walk{data: data, most: most, levels: append(first[:0], level{left: 1, role: whole, shape: shape})}
	for {
		for w.levels[len(w.levels)-1].left == 0 {
			if len(w.levels) == 1 {
				return w.end()
			}
			w.levels = w.levels[:len(w.levels)-1]
		}
		if err := w.value(); err != nil {
			return err
		}
	}
}

// walk is one Check on its way.
type walk struct {
	data   []byte
	pos    int
	most   Bounds  // Memory: what is left of it
	levels []level // the value itself, and what it is in
}

// level is an array or a map whose values are being walked.
type level struct {
	left  int // values still missing, keys included
	role  role
	shape *Shape // of the array or map
	value *Shape // fields: of the value whose name was read last
	at    int    // places: the next field
	seen  bits   // fields: the places of those whose name was read
	twice bool   // fields: the name that was read last had been read before
}

// bits is a set of small numbers. It allocates nothing for those below 64.
type bits struct {
	first uint64
	more  []uint64
}

// add adds a number, and reports whether the set had it.
func (b *bits) add(n int) bool {
	word := &b.first
	if k := n/64 - 1; k >= 0 {
		for len(b.more) <= k {
			b.more = append(b.more, 0)
		}
		word = &b.more[k]
	}
	bit := uint64(1) << (n % 64)
	had := *word&bit != 0
	*word |= bit
	return had
}

// role is what the next value of a level is.
type role int

const (
	unread  role = iota // the decoder skips it, or refuses it
	whole               // the whole message
	element             // of a list
	key                 // of a map
	entry               // the value of a map's key
	name                // of a field
	field               // the value of a named field
	place               // the value of a field that its place names
)

func (w *walk) end() error {
	if w.pos != len(w.data) {
		return fmt.Errorf("%w: %d bytes follow it", ErrShape, len(w.data)-w.pos)
	}
	return nil
}

// value walks the head of one value, with its text.
func (w *walk) value() error {
	rest := w.data[w.pos:]
	size, values, ok := head(rest)
	if !ok || size > len(rest) || values > len(rest)-size {
		return fmt.Errorf("%w: it is cut short at byte %d", ErrShape, w.pos)
	}
	code := rest[0]
	l := &w.levels[len(w.levels)-1]
	l.left--
	listed := l.role == element
	shape := l.next(rest[:size])
	if l.twice { // decoded into what the first one has left, which may not take it
		return fmt.Errorf("%w: byte %d holds the name of a field for the second time", ErrShape, w.pos)
	}
	if isExtension(code) && shape.holds() {
		return fmt.Errorf("%w: byte %d holds an extension where a list or a map belongs", ErrShape, w.pos)
	}
	w.pos += size
	w.most.Memory -= shape.cost(code, size, listed)
	if values > 0 {
		if len(w.levels) == w.most.Depth {
			return fmt.Errorf("%w: it nests deeper than %d", ErrShape, w.most.Depth)
		}
		w.enter(shape.target(), isMap(code), values)
	}
	if w.most.Memory < 0 {
		return ErrTooCostly
	}
	return nil
}

// next is the shape of the coming value, whose head and text are given; nil
// when nothing is kept of it.
func (l *level) next(text []byte) *Shape {
	switch l.role {
	case whole:
		return l.shape
	case element:
		return l.shape.elem
	case key:
		l.role = entry
		return l.shape.key
	case entry:
		l.role = key
		return l.shape.elem
	case name:
		text := keyText(text)
		l.role, l.value = field, l.shape.fields[string(text)]
		if at, ok := l.shape.place[string(text)]; ok {
			l.twice = l.seen.add(at)
		}
	case field:
		l.role = name
		return l.value
	case place:
		l.at++
		return l.shape.field(l.at - 1)
	case unread:
	}
	return nil
}

// enter begins the values of an array or map. Where its shape differs, the
// decoder refuses it.
func (w *walk) enter(shape *Shape, pairs bool, values int) {
	l := level{left: values, shape: shape}
	switch {
	case shape == nil:
	case shape.kind == object && pairs:
		l.role = name
	case shape.kind == object:
		l.role = place
	case pairs && shape.key != nil:
		l.role = key
		w.most.Memory -= shape.mapped(values / 2)
	case !pairs && shape.elem != nil && shape.kind != table:
		l.role = element
	}
	w.levels = append(w.levels, l)
}

const nilCode = 0xc0

func isExtension(c byte) bool { return c >= 0xc7 && c <= 0xc9 || c >= 0xd4 && c <= 0xd8 }

func isMap(c byte) bool { return c >= 0x80 && c <= 0x8f || c == 0xde || c == 0xdf }

// isText reports whether a value is a string or bytes.
func isText(c byte) bool {
	return c >= 0xa0 && c <= 0xbf || c >= 0xc4 && c <= 0xc6 || c >= 0xd9 && c <= 0xdb
}

// keyText is the text of a key of an object.
func keyText(b []byte) []byte {
	switch c := b[0]; {
	case c >= 0xa0 && c <= 0xbf:
		return b[1:]
	case c == 0xd9, c == 0xc4:
		return b[2:]
	case c == 0xda, c == 0xc5:
		return b[3:]
	case c == 0xdb, c == 0xc6:
		return b[5:]
	}
	return nil
}

// head reads the beginning of a value: how many bytes it takes without the
// values in it, and how many those are.
func head(b []byte) (size, values int, ok bool) {
	if len(b) == 0 {
		return 0, 0, false
	}
	c := b[0]
	switch {
	case c <= 0x7f, c >= 0xe0: // small integers
		return 1, 0, true
	case c <= 0x8f:
		return 1, 2 * int(c&0x0f), true
	case c <= 0x9f:
		return 1, int(c & 0x0f), true
	case c <= 0xbf:
		return 1 + int(c&0x1f), 0, true
	}
	switch c {
	case 0xc0, 0xc2, 0xc3: // nil, false, true
		return 1, 0, true
	case 0xc4, 0xd9: // bytes and strings
		return sized(b, 1, 0)
	case 0xc5, 0xda:
		return sized(b, 2, 0)
	case 0xc6, 0xdb:
		return sized(b, 4, 0)
	case 0xc7, 0xc8, 0xc9: // extensions
		return sized(b, 1<<(c-0xc7), 1)
	case 0xca, 0xce, 0xd2: // numbers
		return 5, 0, true
	case 0xcb, 0xcf, 0xd3:
		return 9, 0, true
	case 0xcc, 0xd0:
		return 2, 0, true
	case 0xcd, 0xd1:
		return 3, 0, true
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8: // extensions of fixed size
		return 2 + 1<<(c-0xd4), 0, true
	case 0xdc: // arrays and maps
		return counted(b, 2, 1)
	case 0xdd:
		return counted(b, 4, 1)
	case 0xde:
		return counted(b, 2, 2)
	case 0xdf:
		return counted(b, 4, 2)
	}
	return 0, 0, false // 0xc1 is never used
}

func sized(b []byte, width, extra int) (size, values int, ok bool) {
	n, ok := length(b, width)
	return 1 + width + extra + n, 0, ok
}

func counted(b []byte, width, each int) (size, values int, ok bool) {
	n, ok := length(b, width)
	return 1 + width, each * n, ok
}

// length reads a claim, which is false when it is longer than all there is.
func length(b []byte, width int) (int, bool) {
	if len(b) < 1+width {
		return 0, false
	}
	var n uint32
	switch width {
	case 1:
		n = uint32(b[1])
	case 2:
		n = uint32(binary.BigEndian.Uint16(b[1:]))
	default:
		n = binary.BigEndian.Uint32(b[1:])
	}
	if uint64(n) > uint64(len(b)) {
		return 0, false
	}
	return int(n), true
}
