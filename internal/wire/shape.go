package wire

import (
	"encoding"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// Shape says what a value becomes when it is decoded, so that Check knows what
// its elements occupy. It is safe for concurrent use.
type Shape struct {
	kind   kind
	size   int    // bytes of a value, in what holds it
	to     *Shape // of a pointer: what it points at
	elem   *Shape
	key    *Shape            // of a map
	fields map[string]*Shape // of an object
	order  []*Shape          // its fields, as an array holds them
	place  map[string]int    // of a field's name in order
}

type kind int

const (
	leaf kind = iota // one value, or what decodes itself
	list
	table // a map
	object
	pointer
	dynamic // a leaf, a list or a map
)

const (
	wordSize      = 8
	interfaceSize = 2 * wordSize
)

// anything is the shape of a value without a type.
var anything = newAnything()

func newAnything() *Shape {
	s := &Shape{kind: dynamic, size: interfaceSize}
	s.elem, s.key = s, &Shape{size: interfaceSize}
	return s
}

// target is what a pointer points at; of any other shape the shape itself,
// and of what decodes itself a value of any type.
func (s *Shape) target() *Shape {
	for s != nil && s.to != nil {
		s = s.to
	}
	if s != nil && s.kind == leaf {
		return anything
	}
	return s
}

// holds reports whether values of the shape are lists, maps or objects only.
func (s *Shape) holds() bool {
	if s == nil {
		return false
	}
	kind := s.target().kind
	return kind == list || kind == table || kind == object
}

// cost is what a value of this head occupies, beside its elements: in what
// holds it nothing, unless that is a list.
func (s *Shape) cost(code byte, size int, listed bool) int64 {
	if s == nil {
		return 0
	}
	n := 0
	if isText(code) {
		n = size
	}
	if code != nilCode {
		for p := s.to; p != nil; p = p.to {
			n += p.size
		}
	}
	if listed {
		n = max(n+s.size, elementCost)
	}
	return int64(n)
}

// field is the shape of the field at this place; nil when the type has none.
func (s *Shape) field(at int) *Shape {
	if at < len(s.order) {
		return s.order[at]
	}
	return nil
}

// mapped is what a map of n entries occupies, without the texts in it.
func (s *Shape) mapped(n int) int64 {
	places := int64(2 * n) // a map grows by doubling
	if n <= mapGroup {
		places = mapGroup
	}
	return mapCost + max(places*int64(s.key.size+s.elem.size), int64(n)*elementCost)
}

// Shapes finds the shapes of types whose fields are named by one tag.
type Shapes struct {
	Tag string // "msgpack" or "json"
	// Instead has the types that decode themselves as another type.
	Instead map[reflect.Type]reflect.Type

	mu    sync.Mutex
	known map[reflect.Type]*Shape
}

// Of is the shape of a type.
func (s *Shapes) Of(t reflect.Type) *Shape {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[reflect.Type]*Shape{}
	}
	return s.of(t)
}

// of finds a shape. The caller holds mu. A type may contain itself, so that
// its shape is known before its parts are.
func (s *Shapes) of(t reflect.Type) *Shape {
	if known, ok := s.known[t]; ok {
		return known
	}
	shape := &Shape{size: int(t.Size())} //nolint:gosec // the size of a type
	s.known[t] = shape
	if other, ok := s.Instead[t]; ok {
		part := *s.of(other)
		part.size = shape.size
		*shape = part
		return shape
	}
	if decodesItself(t) {
		return shape
	}
	switch t.Kind() { // others have no parts
	case reflect.Pointer:
		shape.kind, shape.to = pointer, s.of(t.Elem())
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() != reflect.Uint8 {
			shape.kind, shape.elem = list, s.of(t.Elem())
		}
	case reflect.Map:
		shape.kind, shape.key, shape.elem = table, s.of(t.Key()), s.of(t.Elem())
	case reflect.Struct:
		shape.kind, shape.fields, shape.place = object, map[string]*Shape{}, map[string]int{}
		s.fields(shape, t)
	case reflect.Interface:
		*shape = *anything
	}
	return shape
}

// fields adds those of a struct to an object.
func (s *Shapes) fields(shape *Shape, t reflect.Type) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get(s.Tag), ",")
		switch inner := indirect(f.Type); {
		case name == "-":
		case inner.Kind() == reflect.Struct && (slices.Contains(strings.Split(options, ","), "inline") || f.Anonymous && name == "" && !decodesItself(inner)):
			s.fields(shape, inner)
		case f.IsExported():
			if name == "" {
				name = f.Name
			}
			part := s.of(f.Type)
			shape.fields[name], shape.place[name] = part, len(shape.order)
			shape.order = append(shape.order, part)
		}
	}
}

func indirect(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// decodesItself reports whether a type has its own decoder.
func decodesItself(t reflect.Type) bool {
	if t == reflect.TypeFor[time.Time]() {
		return true
	}
	p := reflect.PointerTo(t)
	return slices.ContainsFunc([]reflect.Type{
		reflect.TypeFor[msgpack.CustomDecoder](), reflect.TypeFor[msgpack.Unmarshaler](),
		reflect.TypeFor[encoding.BinaryUnmarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
	}, p.Implements)
}
