package pipeline

import (
	"encoding/json"
	"reflect"
)

// Same reports whether two pipelines do the same, with the same parameters.
// Where in a file something is written does not count: a comment, or another
// path to the file, moves it.
func Same(a, b *Pipeline) bool { return same(reflect.ValueOf(a), reflect.ValueOf(b)) }

// aboutPlaces are the fields that only say where something is written.
var aboutPlaces = map[reflect.Type][]string{
	reflect.TypeFor[Module]():   {"IfAt"},
	reflect.TypeFor[Part]():     {"At"},
	reflect.TypeFor[node]():     {"Line", "Col"},
	reflect.TypeFor[template](): {"File"},
}

// same compares plain data of one type, without places. An empty list is the
// same as none.
func same(a, b reflect.Value) bool {
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() == reflect.TypeFor[Dynamic]() {
		return sameDynamic(a.Interface().(Dynamic), b.Interface().(Dynamic)) //nolint:forcetypeassert // it is of that type
	}
	switch a.Kind() { // the others compare as a whole
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return a.Elem().Type() == b.Elem().Type() && same(a.Elem(), b.Elem())
	case reflect.Struct:
		return sameFields(a, b)
	case reflect.Slice:
		return sameItems(a, b)
	case reflect.Map:
		return sameEntries(a, b)
	}
	return a.Equal(b)
}

func sameFields(a, b reflect.Value) bool {
	for i := range a.NumField() {
		skip := false
		for _, name := range aboutPlaces[a.Type()] {
			skip = skip || a.Type().Field(i).Name == name
		}
		if !skip && !same(a.Field(i), b.Field(i)) {
			return false
		}
	}
	return true
}

func sameItems(a, b reflect.Value) bool {
	if a.Len() != b.Len() {
		return false
	}
	for i := range a.Len() {
		if !same(a.Index(i), b.Index(i)) {
			return false
		}
	}
	return true
}

func sameEntries(a, b reflect.Value) bool {
	if a.Len() != b.Len() {
		return false
	}
	for _, key := range a.MapKeys() {
		if !same(a.MapIndex(key), b.MapIndex(key)) {
			return false
		}
	}
	return true
}

// sameDynamic compares the declarations of members that are still to come.
func sameDynamic(a, b Dynamic) bool {
	var x, y template
	if json.Unmarshal(a.Template, &x) == nil && json.Unmarshal(b.Template, &y) == nil {
		if !same(reflect.ValueOf(x), reflect.ValueOf(y)) {
			return false
		}
		a.Template, b.Template = nil, nil
	}
	return sameFields(reflect.ValueOf(a), reflect.ValueOf(b))
}
