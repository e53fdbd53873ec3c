package modpipe

import (
	"context"
	"fmt"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/internal/inside"
	"github.com/modpipe/modpipe/pipeline"
)

// attempts is a Program as the rest of modpipe sees it.
type attempts struct{ p *Program }

var _ = inside.Register(func(built any) inside.Program { return attempts{built.(*Program)} })

func (i attempts) Identity() (pipeline.Program, error) { return i.p.identity() }

func (i attempts) Call(ctx context.Context, req call.Request) call.Response {
	return i.p.attempt(ctx, req)
}

func (i attempts) Afresh() inside.Program {
	p := i.p
	b := newBuilder(p.name)
	b.checked = true
	b.define(p.define)
	b.includes = p.builder.includes
	return attempts{&Program{name: p.name, define: p.define, builder: b, graph: p.graph}}
}

func (p *Program) identity() (pipeline.Program, error) {
	build, err := executable()
	if err != nil {
		return pipeline.Program{}, fmt.Errorf("digest of the program: %w", err)
	}
	return pipeline.Program{Name: p.name, Build: build, Graph: p.graph}, nil
}
