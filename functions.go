package modpipe

import (
	"context"
	"fmt"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/pipeline"
)

// Functions is for modpipe's own packages: they call the functions of a program
// through it. Its type is internal to modpipe.
func (p *Program) Functions() call.Program { return functions{p} }

// functions is a Program as the rest of modpipe uses it.
type functions struct{ p *Program }

func (f functions) Identity() (pipeline.Program, error) { return f.p.identity() }

func (f functions) Call(ctx context.Context, req call.Request) call.Response {
	return f.p.attempt(ctx, req)
}

func (f functions) Fresh() call.Program {
	p := f.p
	b := newBuilder(p.name)
	b.checked = true
	b.define(p.define)
	b.includes = p.builder.includes
	return functions{&Program{name: p.name, define: p.define, builder: b, graph: p.graph}}
}

func (p *Program) identity() (pipeline.Program, error) {
	build, err := executable()
	if err != nil {
		return pipeline.Program{}, fmt.Errorf("digest of the program: %w", err)
	}
	return pipeline.Program{Name: p.name, Build: build, Graph: p.graph}, nil
}
