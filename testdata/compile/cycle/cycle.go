// Package p is a mistake that the compiler finds.
package p

import (
	"context"

	"github.com/modpipe/modpipe"
)

type source struct{ Branch string }

func checkout(context.Context) (source, error)          { return source{}, nil }
func version(context.Context, source) (string, error)   { return "", nil }
func pack(context.Context, source, string) (int, error) { return 0, nil }

func same(_ context.Context, s string) (string, error) { return s, nil }

func define(p *modpipe.Builder) {
	a := modpipe.Add(p, "a", modpipe.Call1(same, b)) // ERROR undefined: b
	b := modpipe.Add(p, "b", modpipe.Call1(same, a))
	_, _, _, _ = checkout, version, pack, b
}
