package modpipe

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"

	"github.com/modpipe/modpipe/pipeline"
)

// param is a declared parameter.
type param struct {
	pipeline.Param
	at    place
	parse func(string) (any, error) // text to what travels: string, bool, int64 or float64
}

// Param declares a parameter of the run, --param NAME=VALUE. Its value is
// known to functions, and not to the definition: the graph is the same for
// all values.
func Param[T string | bool | int | float64 | time.Duration](b *Builder, name string, def T, usage string) Value[T] {
	at := caller()
	p := &param{Param: pipeline.Param{Name: name, Description: usage}, at: at}
	p.Type, p.Default, p.parse = paramKind(any(def))
	for _, have := range b.params {
		if have.Name == name {
			b.fault(at, "", "parameter %q is there already, at %s", name, have.at)
		}
	}
	if err := pipeline.ValidName(name); err != nil {
		b.fault(at, "", "parameter: %v", err)
	}
	b.params = append(b.params, p)
	return Value[T]{&source{b: b, at: at}, func(in *inputs) (T, error) { return paramValue[T](in.req.Params, name) }}
}

// paramKind is a parameter's type as a file names it, its default as it
// travels, and how text becomes it.
func paramKind(def any) (kind string, travels any, parse func(string) (any, error)) {
	number := func(s string) (any, error) {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%q is not a number", s)
		}
		return f, nil
	}
	switch d := def.(type) {
	case bool:
		return "boolean", d, func(s string) (any, error) {
			if s != "true" && s != "false" {
				return nil, fmt.Errorf("%q is neither true nor false", s)
			}
			return s == "true", nil
		}
	case int:
		return "number", int64(d), func(s string) (any, error) {
			if n, err := strconv.Atoi(s); err == nil {
				return int64(n), nil
			}
			return nil, fmt.Errorf("%q is not a whole number", s)
		}
	case float64:
		return "number", d, number
	case time.Duration:
		return "string", d.String(), func(s string) (any, error) {
			if _, err := time.ParseDuration(s); err != nil {
				return nil, fmt.Errorf("%q is not a duration such as 90s or 1h30m", s)
			}
			return s, nil
		}
	}
	return "string", fmt.Sprint(def), func(s string) (any, error) { return s, nil }
}

// paramValue is a parameter of the run as the function wants it.
func paramValue[T any](params map[string]any, name string) (t T, err error) {
	v, ok := params[name]
	if !ok {
		return t, fmt.Errorf("the run has no parameter %q", name)
	}
	switch want := any(&t).(type) {
	case *string:
		*want, ok = v.(string)
	case *bool:
		*want, ok = v.(bool)
	case *float64:
		*want, ok = asFloat(v)
	case *int:
		*want, ok = asWhole(v)
	case *time.Duration:
		s, isText := v.(string)
		*want, err = time.ParseDuration(s)
		ok = isText && err == nil
	}
	if !ok {
		return t, fmt.Errorf("parameter %q is %v, not a %T", name, v, t)
	}
	return t, nil
}

// asFloat takes a number however the wire has made it.
func asFloat(v any) (float64, bool) {
	r := reflect.ValueOf(v)
	switch {
	case !r.IsValid():
		return 0, false
	case r.CanFloat():
		return r.Float(), true
	}
	n, ok := asWhole(v)
	return float64(n), ok
}

// asWhole takes a whole number however the wire has made it.
func asWhole(v any) (int, bool) {
	r := reflect.ValueOf(v)
	switch {
	case !r.IsValid():
		return 0, false
	case r.CanInt():
		return int(r.Int()), true
	case r.CanUint() && r.Uint() <= math.MaxInt:
		return int(r.Uint()), true
	case r.CanFloat() && r.Float() == math.Trunc(r.Float()) && math.Abs(r.Float()) < 1<<63:
		return int(r.Float()), true
	}
	return 0, false
}
