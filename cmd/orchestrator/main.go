// Command orchestrator runs pipelines and looks after their runs.
package main

import (
	"context"
	"os"

	"github.com/modpipe/modpipe/cli"
)

func main() { os.Exit(cli.Orchestrator(context.Background(), cli.System())) }
