// Command worker runs the modules of pipelines for orchestrators.
package main

import (
	"context"
	"os"

	"github.com/modpipe/modpipe/cli"
	"github.com/modpipe/modpipe/internal/heap"
)

func main() {
	heap.Tune()
	os.Exit(cli.Worker(context.Background(), cli.System()))
}
