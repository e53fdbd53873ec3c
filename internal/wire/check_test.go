package wire

import (
	"encoding/binary"
	"errors"
	"reflect"
	"testing"
	"time"
)

type leafless struct {
	Name  string         `msgpack:"name"`
	Big   [4096]uint64   `msgpack:"-"`
	Next  *leafless      `msgpack:"next,omitempty"`
	Under []leafless     `msgpack:"under,omitempty"`
	Table map[string]int `msgpack:"table,omitempty"`
	At    time.Time      `msgpack:"at"`
	Any   any            `msgpack:"any,omitempty"`
}

// array is the msgpack of n times the same byte.
func array(n int, element byte) []byte {
	data := binary.BigEndian.AppendUint32([]byte{0xdd}, uint32(n)) //nolint:gosec // small
	for range n {
		data = append(data, element)
	}
	return data
}

func named(name string, value []byte) []byte {
	return append(append([]byte{0x81, 0xa0 | byte(len(name))}, name...), value...)
}

func TestCheckChargesWhatElementsOccupy(t *testing.T) {
	shapes := Shapes{Tag: "msgpack"}
	tests := []struct {
		name   string
		data   []byte
		of     reflect.Type
		memory int64
		want   error
	}{
		{"elements of 64 bytes that fit", array(100, 0xc0), reflect.TypeFor[[]int](), 6400, nil},
		{"elements of 64 bytes that do not", array(101, 0xc0), reflect.TypeFor[[]int](), 6400, ErrTooCostly},
		{"elements that occupy more", array(2, 0x80), reflect.TypeFor[[]leafless](), 2 * 4096 * 8, ErrTooCostly},
		{"empty pointers to what occupies more", array(2, 0xc0), reflect.TypeFor[[]*leafless](), 128, nil},
		{"pointers to what occupies more", array(2, 0x80), reflect.TypeFor[[]*leafless](), 128, ErrTooCostly},
		{"elements of a field", named("under", array(2, 0x80)), reflect.TypeFor[leafless](), 4096 * 8, ErrTooCostly},
		{"elements of a field in a struct that is written as an array", append([]byte{0x93, 0xa0, 0xc0}, array(2, 0x80)...), reflect.TypeFor[leafless](), 4096 * 8, ErrTooCostly},
		{"elements of a field that is unknown", named("other", array(1000, 0x80)), reflect.TypeFor[leafless](), 64, nil},
		{"a field that points at what occupies more", named("next", []byte{0x80}), reflect.TypeFor[leafless](), 64, ErrTooCostly},
		{"elements without a type", named("any", array(100, 0x90)), reflect.TypeFor[leafless](), 6400, nil},
		{"too many elements without a type", named("any", array(101, 0x90)), reflect.TypeFor[leafless](), 6400, ErrTooCostly},
		{"entries of a map", named("table", []byte{0x82, 0xa1, 'a', 1, 0xa1, 'b', 2}), reflect.TypeFor[leafless](), 64, ErrTooCostly},
		{"an extension where a map belongs", named("table", []byte{0xc7, 5, 1, 0xdf, 0xff, 0xff, 0xff, 0xff}), reflect.TypeFor[leafless](), 1 << 20, ErrShape},
		{"an extension where a struct belongs", []byte{0xc7, 5, 1, 0xdf, 0xff, 0xff, 0xff, 0xff}, reflect.TypeFor[*leafless](), 1 << 20, ErrShape},
		{"a time", named("at", []byte{0xd6, 0xff, 0, 0, 0, 0}), reflect.TypeFor[leafless](), 64, nil},
		{"a list that claims more than there is", []byte{0xdd, 0xff, 0xff, 0xff, 0xff}, reflect.TypeFor[[]int](), 1 << 20, ErrShape},
		{"a text that claims more than there is", []byte{0xdb, 0xff, 0xff, 0xff, 0xff}, reflect.TypeFor[string](), 1 << 20, ErrShape},
		{"deep nesting", []byte{0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0xc0}, reflect.TypeFor[any](), 1 << 20, ErrShape},
	}
	for _, tt := range tests {
		if err := Check(tt.data, shapes.Of(tt.of), Bounds{Depth: 8, Memory: tt.memory}); !errors.Is(err, tt.want) || err != nil && tt.want == nil {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestPlainRefusesKeysThatCannotBeCompared(t *testing.T) {
	for name, data := range map[string][]byte{
		"a list":          {0x81, 0x90, 0xc3},
		"a map":           {0x81, 0x80, 0xc3},
		"bytes":           {0x81, 0xc4, 1, 'a', 0xc3},
		"a list, nested":  {0x91, 0x81, 0xa1, 'a', 0x81, 0x91, 1, 0xc3},
		"a list in a key": {0x82, 1, 2, 0x81, 0x90, 0xc3, 0xc0},
	} {
		if v, err := Plain(data); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
}

func TestPlainKeepsOtherKeys(t *testing.T) {
	v, err := Plain([]byte{0x83, 1, 0x91, 0xc4, 1, 'x', 0xc3, 2, 0xc0, 3})
	want := map[string]any{"1": []any{"x"}, "true": 2, "<nil>": 3}
	if err != nil || !reflect.DeepEqual(v, want) {
		t.Errorf("%#v, %v", v, err)
	}
}

func TestDecodeAllocatesNothingForAClaim(t *testing.T) {
	for name, data := range map[string][]byte{
		"a map":            {0xdf, 0x7f, 0xff, 0xff, 0xff},
		"a list":           {0xdd, 0x7f, 0xff, 0xff, 0xff},
		"a map, disguised": {0xc7, 5, 1, 0xdf, 0x7f, 0xff, 0xff, 0xff},
	} {
		var m map[string][64]int
		if err := Decode(data, &m); !errors.Is(err, ErrShape) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Plain(data); err == nil {
			t.Errorf("%s is plain", name)
		}
		if _, err := Elements(data); !errors.Is(err, ErrShape) && err == nil {
			t.Errorf("%s has elements", name)
		}
	}
}

// TestAFieldComesOnce: what a field holds already may not take a second value.
func TestAFieldComesOnce(t *testing.T) {
	type item struct {
		Any any `json:"any"`
	}
	for name, data := range map[string][]byte{
		"of different kinds": {0x82, 0xa3, 'a', 'n', 'y', 0x91, 0x01, 0xa3, 'a', 'n', 'y', 0x30},
		"the same":           {0x82, 0xa3, 'a', 'n', 'y', 0x30, 0xa3, 'a', 'n', 'y', 0x30},
	} {
		var v item
		if err := Decode(data, &v); !errors.Is(err, ErrShape) {
			t.Errorf("%s: %v, want %v", name, err, ErrShape)
		}
	}
	var v item
	if err := Decode([]byte{0x82, 0xa1, 'x', 0x30, 0xa1, 'x', 0x30}, &v); err != nil {
		t.Errorf("fields that the type does not have: %v", err)
	}
}
