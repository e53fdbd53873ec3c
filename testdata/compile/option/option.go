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

type mine struct{}

func define(p *modpipe.Builder) {
	modpipe.Add(p, "checkout", modpipe.Call(checkout), mine{}) // ERROR mine does not implement modpipe.Option
	_, _ = version, pack
}
