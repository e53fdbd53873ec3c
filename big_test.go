package modpipe_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/modpipe/modpipe"
)

// Large graphs: a fan-out with a fan-in behind it, a chain, and layers with
// full needs between them.
var large = map[string]func(p *modpipe.Builder){
	"fan": func(p *modpipe.Builder) {
		var all []modpipe.Value[int]
		for i := range 10_000 {
			all = append(all, modpipe.Add(p, fmt.Sprintf("n (i=%d)", i), modpipe.Call(one)))
		}
		modpipe.Add(p, "sum", modpipe.Call1(sum, modpipe.All(all...)))
	},
	"chain": func(p *modpipe.Builder) {
		v := modpipe.Add(p, "n0", modpipe.Call(one))
		for i := range 999 {
			v = modpipe.Add(p, fmt.Sprintf("n%d", i+1), modpipe.Call1(func(_ context.Context, n int) (int, error) { return n, nil }, v))
		}
	},
	"layers": func(p *modpipe.Builder) {
		layer := modpipe.All[int]()
		for l := range 100 {
			var next []modpipe.Value[int]
			for i := range 100 {
				next = append(next, modpipe.Add(p, fmt.Sprintf("n (l=%d, i=%d)", l, i), modpipe.Call1(sum, layer)))
			}
			layer = modpipe.All(next...)
		}
	},
}

func BenchmarkBuild(b *testing.B) {
	for name, define := range large {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p, err := modpipe.Build("large", define)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := p.Pipeline(nil, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
