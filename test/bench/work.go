package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/modpipe/modpipe"
)

const (
	inProcess = "in-process"
	processes = "processes"
)

// work is a pipeline of modules that do nothing, and how many of them the
// floor has on their way at the same time to be compared with it.
type work struct {
	name    string
	modules int
	flight  int
	define  func(*modpipe.Builder)
}

func works() []work {
	return []work{
		{"F", 10_000, floorFlight, layers(1, 10_000)},
		{"C", 1_000, 1, layers(1_000, 1)},
		{"L", 10_000, floorFlight, layers(100, 100)},
	}
}

func workNamed(name string) (work, error) {
	for _, w := range append(works(), work{"commands", 1_500, 2, commands(1_500)}) {
		if w.name == name {
			return w, nil
		}
	}
	return work{}, fmt.Errorf("there is no work %q", name)
}

// layers defines depth layers of width modules; each needs all of the layer before.
func layers(depth, width int) func(*modpipe.Builder) {
	return func(b *modpipe.Builder) {
		var before []modpipe.Need
		for i := range depth {
			var layer []modpipe.Need
			for k := range width {
				layer = append(layer, modpipe.Add(b, fmt.Sprintf("m%d_%d", i, k), modpipe.Call(nothing), modpipe.After(before...)))
			}
			before = layer
		}
	}
}

// commands defines n commands that do nothing and need nothing.
func commands(n int) func(*modpipe.Builder) {
	return func(b *modpipe.Builder) {
		for i := range n {
			modpipe.Add(b, fmt.Sprintf("m%d", i), modpipe.Command{Run: "true"})
		}
	}
}

// slots is how many a work has.
func (w work) slots() int {
	if w.flight < floorFlight {
		return 2 * runtime.NumCPU()
	}
	return 2 * slotsEach
}

func nothing(context.Context) (struct{}, error) { return struct{}{}, nil }
