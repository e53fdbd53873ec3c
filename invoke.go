package modpipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/internal/wire"
)

// attempt runs one attempt of a module: the condition, then the function, or
// what prepares the command.
func (p *Program) attempt(ctx context.Context, req call.Request) (res call.Response) {
	ctx = withAttempt(ctx, &req)
	if req.Uses && req.Stubbed {
		return call.Response{}
	}
	if req.Uses {
		u := p.builder.functions[req.Function]
		if u == nil {
			return unknown(p, "function", req.Function)
		}
		return called(nil, func() (any, error) { return u.call(ctx, req.With) })
	}
	m := p.builder.byName[req.Function]
	if m == nil {
		return unknown(p, "module", req.Function)
	}
	in := &inputs{req: &req}
	if skipped := m.decide(in); skipped != nil {
		return *skipped
	}
	switch {
	case req.Stubbed:
		return call.Response{}
	case m.each != nil:
		return called(m, func() (any, error) {
			data, err := item(in, m.each.list)
			if err != nil {
				return nil, Permanent(err)
			}
			return m.each.call(ctx, in, data)
		})
	case m.exec.command != nil:
		return m.prepare(in)
	}
	return called(m, func() (any, error) { return m.exec.call(ctx, in) })
}

func unknown(p *Program, what, name string) call.Response {
	return call.Response{Error: fmt.Sprintf("program %s has no %s %q", p.name, what, name), Permanent: true}
}

// decide evaluates the conditions; nil when the module is to run.
func (m *module) decide(in *inputs) *call.Response {
	for _, c := range m.conds {
		var yes bool
		res := guarded(m, func() (any, error) {
			var err error
			yes, err = c.get(in)
			return nil, err
		})
		switch {
		case res.Error != "":
			return &call.Response{Error: "if: " + res.Error, Permanent: true}
		case !yes:
			return &call.Response{Skipped: true, Reason: c.otherwise}
		}
	}
	return nil
}

func (m *module) prepare(in *inputs) call.Response {
	res := call.Response{Prepared: true}
	if m.exec.prepare == nil {
		return res
	}
	failed := guarded(m, func() (any, error) {
		var err error
		res.Env, res.Stdin, err = m.exec.prepare(in)
		return nil, err
	})
	if failed.Error != "" {
		return call.Response{Error: failed.Error, Permanent: true}
	}
	return res
}

// called runs a function and encodes its result immediately.
func called(m *module, f func() (any, error)) call.Response {
	res := guarded(m, f)
	res.Began = true
	return res
}

func guarded(m *module, f func() (any, error)) (res call.Response) {
	defer func() {
		if v := recover(); v != nil {
			again := m != nil && m.retryPanics
			res = call.Response{Error: fmt.Sprintf("panic: %v\n\n%s", v, stack()), Permanent: !again}
		}
	}()
	v, err := f()
	if err != nil {
		return failed(m, err)
	}
	data, err := wire.Encode(v)
	if err != nil {
		return call.Response{Error: fmt.Sprintf("its result cannot travel: %v", err), Permanent: true}
	}
	return call.Response{Result: data}
}

// failed is what an error says of the attempt.
func failed(m *module, err error) call.Response {
	if skip, ok := errors.AsType[*skipError](err); ok {
		return call.Response{Skipped: true, Reason: skip.reason}
	}
	res := call.Response{Error: err.Error(), Permanent: isPermanent(err)}
	if retry, ok := errors.AsType[*retryError](err); ok {
		res.RetryAfter = retry.after
	}
	if res.Error == "" {
		res.Error = fmt.Sprintf("an error without text (%T)", err)
	}
	if m != nil && m.retryIf != nil && !m.retryIf(err) {
		res.Permanent = true
	}
	res.Ignorable = m != nil && m.ignoreIf != nil && m.ignoreIf(err)
	return res
}

// stack is the stack of a panic, from where it began.
func stack() string {
	text := string(debug.Stack())
	if _, rest, ok := strings.Cut(text, "panic("); ok {
		if _, rest, ok = strings.Cut(rest, "\n"); ok {
			if _, rest, ok = strings.Cut(rest, "\n"); ok {
				text = rest
			}
		}
	}
	return strings.TrimSpace(text)
}

// withAttempt puts the attempt and its logger into a context.
func withAttempt(ctx context.Context, req *call.Request) context.Context {
	out := io.Discard
	if req.Log != nil {
		out = req.Log
	}
	return context.WithValue(ctx, contextKey{}, &running{
		attempt: Attempt{
			Run: req.Run, Pipeline: req.Pipeline, Module: req.Module, Number: req.Number,
			Worker: req.Worker, Dir: req.Dir, FencingToken: req.Fence,
		},
		log: slog.New(newLineHandler(out)), secrets: req.Secrets,
	})
}
