package modpipe

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modpipe/modpipe/pipeline"
)

// param is a declared parameter.
type param struct {
	pipeline.Param
	at    callSite
	parse func(string) (any, error) // text to what travels: string, bool, int64 or float64

	text    *string // its default, of a text parameter
	standIn string  // a value that it might have, for checks without a run
}

// ParamOption narrows a parameter: OneOf, Required, FromEnv.
type ParamOption interface{ applyParam(*Builder, *param) }

type paramOption func(*Builder, *param)

func (o paramOption) applyParam(b *Builder, p *param) { o(b, p) }

// OneOf lists all values that a text parameter may have. The default must be
// one of them, unless the parameter is Required.
func OneOf(values ...string) ParamOption {
	return paramOption(func(b *Builder, p *param) {
		switch {
		case len(values) == 0:
			b.fault(p.at, "", "parameter %s: OneOf has no values", p.Name)
			return
		case p.text == nil:
			b.fault(p.at, "", "parameter %s: OneOf is for text", p.Name)
			return
		}
		p.Type, p.Options = "choice", slices.Clone(values)
		p.parse = func(s string) (any, error) {
			if !slices.Contains(p.Options, s) {
				return nil, fmt.Errorf("%q is not one of %s", s, strings.Join(p.Options, ", "))
			}
			return s, nil
		}
	})
}

// Required says that every run must give the parameter a value: its default
// only tells the type.
func Required() ParamOption { return paramOption(func(_ *Builder, p *param) { p.Required = true }) }

// FromEnv takes the value from an environment variable of the process that
// starts the run, where no --param gives one.
func FromEnv(variable string) ParamOption {
	return paramOption(func(_ *Builder, p *param) { p.FromEnv = variable })
}

// Param declares a parameter of the run, --param NAME=VALUE. Its value is
// known to functions, and not to the definition: the graph is the same for
// all values.
func Param[T string | bool | int | float64 | time.Duration](b *Builder, name string, def T, usage string, opts ...ParamOption) Value[T] {
	at := caller()
	p := &param{Param: pipeline.Param{Name: name, Description: usage}, at: at}
	p.Type, p.Default, p.parse = paramKind(any(def))
	if text, ok := any(def).(string); ok {
		p.text = &text
	}
	p.options(b, opts)
	for _, have := range b.params {
		if have.Name == name {
			b.fault(at, "", "parameter %q is there already, at %s", name, have.at)
		}
	}
	if err := pipeline.ValidName(name); err != nil {
		b.fault(at, "", "parameter: %v", err)
	}
	b.params = append(b.params, p)
	return Value[T]{&upstream{b: b, at: at}, func(in *inputs) (T, error) { return paramValue[T](in.req.Params, name) }}
}

// options applies what narrows the parameter, and checks its default.
func (p *param) options(b *Builder, opts []ParamOption) {
	for _, o := range opts {
		if o == nil {
			b.fault(p.at, "", "parameter %s has an option that is nil", p.Name)
			continue
		}
		o.applyParam(b, p)
	}
	if len(p.Options) > 0 && !p.Required && !slices.Contains(p.Options, *p.text) {
		b.fault(p.at, "", "parameter %s: its default %q is not one of %s", p.Name, *p.text, strings.Join(p.Options, ", "))
	}
	p.standIn = fmt.Sprint(p.Default)
	if len(p.Options) > 0 {
		p.standIn = p.Options[0]
	}
	if p.Required {
		p.Default = nil
	}
}

// bind is the value of the parameter in a run: from --param, else from its
// environment variable, else its default.
func (p *param) bind(params map[string]string, lookupEnv func(string) (string, bool)) (any, pipeline.Faults) {
	text, given := params[p.Name]
	from := "--param"
	if !given && p.FromEnv != "" {
		text, given = lookupEnv(p.FromEnv)
		from = "$" + p.FromEnv
	}
	fault := func(suggestion, format string, args ...any) pipeline.Faults {
		return pipeline.Faults{{File: p.at.file, Line: p.at.line, Text: fmt.Sprintf(format, args...), Suggestion: suggestion}}
	}
	switch {
	case given:
		v, err := p.parse(text)
		if err != nil {
			return nil, fault("", "parameter %s (from %s): %v", p.Name, from, err)
		}
		return v, nil
	case p.Required:
		return nil, fault(fmt.Sprintf("--param %s=…", p.Name), "parameter %s is required and has no value", p.Name)
	}
	return p.Default, nil
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
