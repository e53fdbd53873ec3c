// Package wire encodes the results of Go functions, and checks messages before
// they are decoded.
//
// The encoding is msgpack with the names that JSON would give to fields; the same
// value has the same bytes. A check bounds the depth and the memory of a message
// by its sender's bytes, not by the sizes that it claims.
package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// Encode makes a value's bytes.
func Encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := msgpack.NewEncoder(&buf)
	enc.SetCustomStructTag("json")
	enc.SetSortMapKeys(true)
	enc.UseCompactInts(true)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// MaxResult is how many bytes a result may have, encoded.
const MaxResult = 256 << 20

// resultDepth is how deep results may nest: a decoder's stack has an end.
const resultDepth = 1000

// bounds are those of a result. What holds several results may be longer than
// one, and has as many bytes as it says.
func bounds(data []byte) Bounds {
	return Bounds{Depth: resultDepth, Memory: 4 * int64(max(len(data), MaxResult))}
}

var shapes = Shapes{Tag: "json"}

// Decode reads a value that Encode has written into the variable that v points
// to. Other data is refused with ErrShape or ErrTooCostly.
func Decode(data []byte, v any) error {
	if err := Check(data, shapes.Of(reflect.TypeOf(v)), bounds(data)); err != nil {
		return err
	}
	dec := msgpack.NewDecoder(bytes.NewReader(data))
	dec.SetCustomStructTag("json")
	return dec.Decode(v)
}

// ErrKey says that a map has a key that cannot be the name of anything: a list,
// a map or bytes.
var ErrKey = errors.New("a key of a map cannot be compared")

// Plain makes of a value what JSON would make of it: nil, bool, float64, int
// (uint64 where an int is too small), string, []any and map[string]any. Bytes
// become text, times RFC 3339.
// ErrShape, ErrTooCostly, ErrKey.
func Plain(data []byte) (any, error) {
	if err := Check(data, anything, bounds(data)); err != nil {
		return nil, err
	}
	dec := msgpack.NewDecoder(bytes.NewReader(data))
	dec.SetMapDecoder(plainMap)
	v, err := dec.DecodeInterface()
	if err != nil {
		return nil, err
	}
	return plain(v), nil
}

// plainMap decodes a map; its values are not plain yet.
func plainMap(dec *msgpack.Decoder) (any, error) {
	n, err := dec.DecodeMapLen()
	if err != nil {
		return nil, err
	}
	m := make(map[string]any, max(n, 0))
	for range n {
		k, err := dec.DecodeInterface()
		if err != nil {
			return nil, err
		}
		switch k.(type) {
		case []any, map[string]any, []byte:
			return nil, fmt.Errorf("%w: it is a %T", ErrKey, k)
		}
		if m[fmt.Sprint(plain(k))], err = dec.DecodeInterface(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Elements are the values of a list, one by one. ErrShape, ErrTooCostly.
func Elements(data []byte) ([][]byte, error) {
	if err := Check(data, anything, bounds(data)); err != nil {
		return nil, err
	}
	dec := msgpack.NewDecoder(bytes.NewReader(data))
	n, err := dec.DecodeArrayLen()
	if err != nil {
		return nil, err
	}
	var items [][]byte
	for range n {
		raw, err := dec.DecodeRaw()
		if err != nil {
			return nil, err
		}
		items = append(items, bytes.Clone(raw))
	}
	return items, nil
}

func plain(v any) any {
	switch v := v.(type) {
	case nil, bool, string, float64, int:
		return v
	case int8:
		return int(v)
	case int16:
		return int(v)
	case int32:
		return int(v)
	case int64:
		return int(v)
	case uint8:
		return int(v)
	case uint16:
		return int(v)
	case uint32:
		return int(v)
	case uint64:
		if v > math.MaxInt {
			return v
		}
		return int(v)
	case float32:
		return float64(v)
	case []byte:
		return string(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case *time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
		return v
	case map[string]any:
		for k, x := range v {
			v[k] = plain(x)
		}
		return v
	}
	return fmt.Sprint(v)
}
