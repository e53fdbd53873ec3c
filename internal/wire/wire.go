// Package wire is how results of Go functions are written: msgpack, with the
// names that JSON would give to fields, and the same bytes for the same value.
package wire

import (
	"bytes"
	"fmt"
	"math"
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

// Decode reads a value that Encode has written into what v points at.
func Decode(data []byte, v any) error {
	dec := msgpack.NewDecoder(bytes.NewReader(data))
	dec.SetCustomStructTag("json")
	return dec.Decode(v)
}

// Plain makes of a value what JSON would make of it: nil, bool, float64, int
// (uint64 where an int is too small), string, []any and map[string]any. Bytes become text, times RFC 3339.
func Plain(data []byte) (any, error) {
	dec := msgpack.NewDecoder(bytes.NewReader(data))
	dec.SetMapDecoder(func(d *msgpack.Decoder) (any, error) { return d.DecodeUntypedMap() })
	v, err := dec.DecodeInterface()
	if err != nil {
		return nil, err
	}
	return plain(v), nil
}

// Elements are the values of a list, one by one.
func Elements(data []byte) ([][]byte, error) {
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
		list := make([]any, len(v))
		for i := range v {
			list[i] = plain(v[i])
		}
		return list
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[fmt.Sprint(plain(k))] = plain(x)
		}
		return m
	}
	return fmt.Sprint(v)
}
