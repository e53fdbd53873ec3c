package cli_test

import (
	"context"
	"fmt"
	"io"
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

// The whole of a program that has the pipeline greet: `program run` runs it,
// `program worker` runs its modules for others.
func ExampleMain() {
	cli.Main("greet", greet)
}

// The orchestrator for pipeline files is this, with cli.System() in place of
// arguments and streams of one's own.
func ExampleOrchestrator() {
	p := cli.Process{Args: []string{"graph", "no-such.yaml"}, Env: os.Environ(), Stdout: os.Stdout, Stderr: io.Discard}
	fmt.Println("exit code", cli.Orchestrator(context.Background(), p))
	// Output: exit code 2
}

// A worker as the process that it is: with its arguments, environment,
// streams and signals.
func ExampleWorker() {
	os.Exit(cli.Worker(context.Background(), cli.System()))
}
