package modpipe

import (
	"context"
	"reflect"
	"slices"
)

// Executor does the work of a module: a Go function (Call to Call4) or a Command.
type Executor[T any] interface {
	executor(at callSite) *executor
	returns(T)
}

// executor is an Executor without its type.
type executor struct {
	at      callSite
	b       *Builder // of the definition that made it; nil when none was running
	added   bool
	faults  []string
	inputs  []*upstream
	call    func(context.Context, *inputs) (any, error)      // of a Go function
	prepare func(*inputs) (map[string]string, []byte, error) // of a command with values; nil otherwise
	command *Command                                         // of a command
}

// function is the Executor of a Go function.
type function[T any] struct{ e *executor }

func (f function[T]) executor(callSite) *executor { return f.e }
func (function[T]) returns(T)                     {}

// newFunction makes the executor of a function with inputs.
func newFunction[T any](at callSite, fn any, call func(context.Context, *inputs) (T, error), upstreams ...*upstream) Executor[T] {
	e := &executor{at: at, inputs: upstreams, b: defining()}
	if reflect.ValueOf(fn).IsNil() {
		e.faults = append(e.faults, "the function is nil")
	}
	e.call = func(ctx context.Context, in *inputs) (any, error) { return call(ctx, in) }
	if e.b == nil && len(upstreams) > 0 && upstreams[0] != nil {
		e.b = upstreams[0].b
	}
	if e.b != nil {
		e.b.calls = append(e.b.calls, e)
	}
	return function[T]{e}
}

// Call is a function without inputs.
func Call[T any](fn func(context.Context) (T, error)) Executor[T] {
	return newFunction(caller(), fn, func(ctx context.Context, _ *inputs) (T, error) { return fn(ctx) })
}

// Call1 is a function of one value.
func Call1[A, T any](fn func(context.Context, A) (T, error), a Value[A]) Executor[T] {
	return newFunction(caller(), fn, func(ctx context.Context, in *inputs) (t T, err error) {
		av, err := read(in, a)
		if err != nil {
			return t, err
		}
		return fn(ctx, av)
	}, a.up)
}

// Call2 is a function of two values.
func Call2[A, B, T any](fn func(context.Context, A, B) (T, error), a Value[A], b Value[B]) Executor[T] {
	return newFunction(caller(), fn, func(ctx context.Context, in *inputs) (t T, err error) {
		av, bv := argument(in, a, &err), argument(in, b, &err)
		if err != nil {
			return t, err
		}
		return fn(ctx, av, bv)
	}, a.up, b.up)
}

// Call3 is a function of three values.
func Call3[A, B, C, T any](fn func(context.Context, A, B, C) (T, error), a Value[A], b Value[B], c Value[C]) Executor[T] {
	return newFunction(caller(), fn, func(ctx context.Context, in *inputs) (t T, err error) {
		av, bv, cv := argument(in, a, &err), argument(in, b, &err), argument(in, c, &err)
		if err != nil {
			return t, err
		}
		return fn(ctx, av, bv, cv)
	}, a.up, b.up, c.up)
}

// Call4 is a function of four values. What takes more reads some of them from
// a struct that a module before it returns.
func Call4[A, B, C, D, T any](fn func(context.Context, A, B, C, D) (T, error), a Value[A], b Value[B], c Value[C], d Value[D]) Executor[T] {
	return newFunction(caller(), fn, func(ctx context.Context, in *inputs) (t T, err error) {
		av, bv, cv, dv := argument(in, a, &err), argument(in, b, &err), argument(in, c, &err), argument(in, d, &err)
		if err != nil {
			return t, err
		}
		return fn(ctx, av, bv, cv, dv)
	}, a.up, b.up, c.up, d.up)
}

// Wrap runs around in place of a function, as for a lock, a timer or a log line that
// many modules have. around calls next, once, more often or not at all, and its result
// is that of the attempt. Several add up, the last one outermost. A command cannot be
// wrapped: it needs no Go program to run.
func Wrap[T any](e Executor[T], around func(ctx context.Context, next func(context.Context) (T, error)) (T, error)) Executor[T] {
	at := caller()
	if e == nil {
		return nil
	}
	inner := e.executor(at)
	outer := *inner
	outer.faults = slices.Clone(inner.faults)
	inner.added = true // by way of the outer one
	switch {
	case inner.command != nil:
		outer.command, outer.prepare = nil, nil
		outer.faults = append(outer.faults, "Wrap is for Go functions, and this is a command: start the process from a function")
	case around == nil:
		outer.faults = append(outer.faults, "Wrap has no function")
	}
	outer.call = func(ctx context.Context, in *inputs) (any, error) {
		return around(ctx, func(ctx context.Context) (t T, err error) {
			v, err := inner.call(ctx, in)
			t, _ = v.(T) // newFunction's call returns a T
			return t, err
		})
	}
	if outer.b != nil {
		outer.b.calls = append(outer.b.calls, &outer)
	}
	return function[T]{&outer}
}

// read returns a value. A value that cannot be read fails the module for good: the
// next attempt cannot read it either.
func read[T any](in *inputs, v Value[T]) (T, error) {
	t, err := v.get(in)
	if err != nil {
		return t, Permanent(err)
	}
	return t, nil
}

// argument is read, for one of several arguments. It does nothing after an error.
func argument[T any](in *inputs, v Value[T], err *error) (t T) {
	if *err == nil {
		t, *err = read(in, v)
	}
	return t
}
