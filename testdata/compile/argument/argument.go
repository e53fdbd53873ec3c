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

func define(p *modpipe.Builder) {
	co := modpipe.Add(p, "checkout", modpipe.Call(checkout))
	modpipe.Add(p, "package", modpipe.Call2(pack, co)) // ERROR not enough arguments in call to modpipe.Call2
	_ = version
}
