package modpipe

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modpipe/modpipe/pipeline"
)

// include is a pipeline file whose modules join those of the definition.
type include struct {
	at    callSite
	name  string
	text  []byte
	after int // its modules come behind so many of the definition's
	file  *pipeline.File

	modules []string // names of its modules and families, as the file has them
}

// Include adds the modules of a pipeline file. The file is part of the
// program, by go:embed, because the definition runs on every worker. Its
// modules may need those of the definition, read their results (needs.x.result)
// and name functions (uses: go:NAME, see Function); Outputs reads theirs. Its
// parameters become parameters of the run.
func (b *Builder) Include(files fs.FS, name string) {
	at := caller()
	text, err := fs.ReadFile(files, name)
	if err != nil {
		b.fault(at, "", "include %s: %v", name, err)
		return
	}
	names, _ := pipeline.ModuleOrder(text) // a faulty file is reported when it is parsed
	b.includes = append(b.includes, &include{at: at, name: name, text: text, after: len(b.modules), modules: names})
}

// Outputs are the outputs of a command in an included file.
func (b *Builder) Outputs(module string) Value[map[string]string] {
	at := caller()
	v := outputsOf(b, module, at)
	b.outputs = append(b.outputs, v.up.edges[0])
	return v
}

// usable is a function that files name.
type usable struct {
	at     callSite
	input  reflect.Type
	result reflect.Type
	call   func(context.Context, map[string]string) (any, error)
}

// Function lets included files name fn, by uses: go:NAME. The values of with
// become the fields of A, a struct, by their names in JSON or without regard
// to case: text, booleans, numbers and durations as they are, anything else as
// JSON. A function that takes nothing takes struct{}.
func Function[A, T any](b *Builder, name string, fn func(context.Context, A) (T, error)) {
	at := caller()
	u := &usable{at: at, input: reflect.TypeFor[A](), result: reflect.TypeFor[T]()}
	u.call = func(ctx context.Context, with map[string]string) (any, error) {
		var a A
		if err := fill(reflect.ValueOf(&a).Elem(), with); err != nil {
			return nil, Permanent(err)
		}
		return fn(ctx, a)
	}
	if err := pipeline.ValidName(name); err != nil {
		b.fault(at, "", "function: %v", err)
	}
	switch first := b.functions[name]; {
	case first != nil:
		b.fault(at, "", "function %q is there already, at %s", name, first.at)
	case fn == nil:
		b.fault(at, "", "function %q is nil", name)
	case u.input.Kind() != reflect.Struct:
		b.fault(at, "", "function %q takes a %s; it must take a struct", name, u.input)
	}
	if why := loss(u.result); why != "" {
		b.fault(at, "a result is data that another machine can read", "function %q: its result cannot travel: %s", name, why)
	}
	b.functions[name] = u
}

// fieldOf finds the field of a struct that a key of with is for.
func fieldOf(t reflect.Type, key string) (int, bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		plain := strings.NewReplacer("-", "", "_", "").Replace(key)
		if f.IsExported() && (tag == key || tag == "" && (strings.EqualFold(f.Name, key) || strings.EqualFold(f.Name, plain))) {
			return i, true
		}
	}
	return 0, false
}

// fill sets fields from text.
func fill(v reflect.Value, with map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(with)) {
		i, ok := fieldOf(v.Type(), key)
		if !ok {
			return fmt.Errorf("with: %s has no field for %q", v.Type(), key)
		}
		if err := setText(v.Field(i), with[key]); err != nil {
			return fmt.Errorf("with: %s: %w", key, err)
		}
	}
	return nil
}

func setText(v reflect.Value, s string) (err error) {
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(s)
		v.SetInt(int64(d))
		return err
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		var b bool
		if b, err = strconv.ParseBool(s); err == nil {
			v.SetBool(b)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var n int64
		if n, err = strconv.ParseInt(s, 10, v.Type().Bits()); err == nil {
			v.SetInt(n)
		}
	default:
		err = json.Unmarshal([]byte(s), v.Addr().Interface())
	}
	return err
}

// parse reads the included files, each with the names of all others.
func (b *Builder) parse() {
	x := &pipeline.Externals{Modules: map[string]pipeline.External{}, Functions: slices.Sorted(maps.Keys(b.functions))}
	for _, m := range b.modules {
		family, _, _ := pipeline.SplitMember(m.name)
		external := pipeline.External{Result: m.exec == nil || m.exec.command == nil, Family: m.each != nil}
		x.Modules[m.name] = external
		if family != "" {
			x.Modules[family] = pipeline.External{Family: true}
		}
	}
	for _, inc := range b.includes {
		names, err := pipeline.ModuleNames(inc.text)
		if err != nil {
			continue // Parse says it better
		}
		for name, external := range names {
			external.File = inc.name
			if _, taken := x.Modules[name]; !taken {
				x.Modules[name] = external
			}
		}
	}
	for _, inc := range b.includes {
		f, err := pipeline.ParseIn(inc.name, inc.text, x)
		if faults, ok := err.(pipeline.Faults); ok { //nolint:errorlint // documented: it is one
			b.faults = append(b.faults, faults...)
			continue
		}
		inc.file = f
	}
	b.checkOutputs(x)
}

// checkOutputs finds reads of commands that no file has.
func (b *Builder) checkOutputs(x *pipeline.Externals) {
	for _, e := range b.outputs {
		m, ok := x.Modules[e.name]
		switch {
		case !ok:
			b.fault(e.at, b.suggest(e.name, slices.Sorted(maps.Keys(x.Modules))), "no included file has a module %q", e.name)
		case m.Family:
			b.fault(e.at, "", "%s is a family: name one of its members", e.name)
		case m.Result:
			b.fault(e.at, "use the Value that Add has returned", "%s is no command and has no outputs", e.name)
		}
	}
}
