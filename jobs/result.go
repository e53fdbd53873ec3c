package jobs

import (
	"bytes"
	"fmt"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// DecodeResult makes of a Go function's result what JSON would make of it:
// nil, bool, float64, int, string, []any and map[string]any. Bytes become
// text; times are in RFC 3339.
func DecodeResult(data []byte) (any, error) {
	if err := check(data); err != nil {
		return nil, fmt.Errorf("decode a result: %w", err)
	}
	dec := msgpack.NewDecoder(bytes.NewReader(data))
	dec.SetMapDecoder(func(d *msgpack.Decoder) (any, error) { return d.DecodeUntypedMap() })
	v, err := dec.DecodeInterface()
	if err != nil {
		return nil, fmt.Errorf("decode a result: %w: %w", ErrMalformed, err)
	}
	return plain(v), nil
}

// plain leaves of a decoded value what JSON knows.
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
