package cli_test

import (
	"context"
	"fmt"
	"os"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/cli"
)

// greet is the definition of a pipeline of one module.
func greet(p *modpipe.Builder) {
	whom := modpipe.Param(p, "whom", "world", "who is greeted")
	modpipe.Add(p, "greet", modpipe.Call1(func(_ context.Context, whom string) (string, error) {
		return "Hello, " + whom + "!", nil
	}, whom))
}

// A program of one's own is one line, cli.Main("greet", greet): it is the
// orchestrator, the worker and the whole command line. Program is the same
// with arguments and streams of one's choice.
func ExampleProgram() {
	code := cli.Program(context.Background(), "greet", greet, cli.Process{
		Args: []string{"plan", "-o", "name"}, Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr,
	})
	fmt.Println("exit code", code)
	// Output:
	// greet
	// exit code 0
}
