// Command probe is a program whose modules do what a test tells them, by
// files in the directory of the parameter dir.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/cli"
)

func main() { cli.Main("probe", probe) }

func probe(p *modpipe.Builder) {
	if name := os.Getenv("PROBE_EXTRA"); name != "" { // what a definition may not do
		modpipe.Add(p, name, modpipe.Call(func(context.Context) (int, error) { return 0, nil }))
	}
	dir := modpipe.Param(p, "dir", "", "directory of the test")
	text := ""
	first := modpipe.Add(p, "first", modpipe.Call1(func(_ context.Context, dir string) (string, error) {
		text = "kept in memory"
		fmt.Println("printed")
		return strings.Repeat("large ", 50_000), nil // above what travels inline
	}, dir))
	gate := modpipe.Add(p, "gate", modpipe.Call2(wait, dir, first), modpipe.NotInParallel("gate"))
	modpipe.Add(p, "captured", modpipe.Call1(func(context.Context, int) (string, error) { return text, nil }, gate))
	modpipe.Add(p, "stubborn", modpipe.Call1(func(context.Context, string) (int, error) {
		time.Sleep(time.Minute)
		return 0, nil
	}, dir), modpipe.Timeout(300*time.Millisecond), modpipe.Info{Grace: 200 * time.Millisecond, Category: "bad"}, modpipe.IgnoreFailure())
	modpipe.Add(p, "exits", modpipe.Call1(func(context.Context, string) (int, error) {
		os.Exit(3)
		return 0, nil
	}, dir), modpipe.IgnoreFailure(), modpipe.Info{Category: "bad"})
}

// wait blocks until the test opens the gate, and says that it does.
func wait(ctx context.Context, dir, large string) (int, error) {
	a := modpipe.AttemptOf(ctx)
	modpipe.Logger(ctx).Info("token " + fmt.Sprint(a.FencingToken))
	for {
		if _, err := os.Stat(filepath.Join(dir, "gate")); err == nil {
			return len(large), nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}
