// Command orchestrator runs pipelines and supervises their runs.
package main

import (
	"context"
	"os"

	"github.com/modpipe/modpipe/cli"
	"github.com/modpipe/modpipe/internal/heap"
)

func main() {
	heap.Tune()
	os.Exit(cli.Orchestrator(context.Background(), cli.System()))
}
