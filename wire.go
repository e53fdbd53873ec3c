package modpipe

import (
	"encoding"
	"fmt"
	"reflect"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// loss says why values of a type would not arrive as they were; empty when
// they do. path leads to the part of it that is meant.
func loss(t reflect.Type) string {
	return lossIn(t, t.String(), map[reflect.Type]bool{})
}

var ownEncoding = []reflect.Type{
	reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.Marshaler](),
	reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.TextMarshaler](),
}

// encodesItself reports whether a type says how it is encoded.
func encodesItself(t reflect.Type) bool {
	for _, i := range ownEncoding {
		if t.Implements(i) || reflect.PointerTo(t).Implements(i) {
			return true
		}
	}
	return false
}

func lossIn(t reflect.Type, path string, seen map[reflect.Type]bool) string {
	if seen[t] || t == reflect.TypeFor[time.Time]() || encodesItself(t) {
		return ""
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Uintptr, reflect.Complex64, reflect.Complex128:
		return fmt.Sprintf("%s is a %s", path, t.Kind())
	case reflect.Interface:
		return fmt.Sprintf("%s is an interface, and the type of what is in it would be lost", path)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return lossIn(t.Elem(), path, seen)
	case reflect.Map:
		if k := t.Key().Kind(); k == reflect.Struct || k == reflect.Pointer || k == reflect.Array {
			return fmt.Sprintf("%s has keys of type %s", path, t.Key())
		}
		if why := lossIn(t.Key(), path, seen); why != "" {
			return why
		}
		return lossIn(t.Elem(), path, seen)
	case reflect.Struct:
		return lossInFields(t, path, seen)
	}
	return ""
}

func lossInFields(t reflect.Type, path string, seen map[reflect.Type]bool) string {
	for f := range t.Fields() {
		if f.Tag.Get("json") == "-" {
			continue // left out on purpose
		}
		if !f.IsExported() && (!f.Anonymous || f.Type.Kind() != reflect.Struct) {
			return fmt.Sprintf("%s.%s is not exported and would be lost", path, f.Name)
		}
		if why := lossIn(f.Type, path+"."+f.Name, seen); why != "" {
			return why
		}
	}
	return ""
}
