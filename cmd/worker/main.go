// Command worker runs the modules of pipelines for orchestrators.
package main

import (
	"context"
	"os"

	"github.com/modpipe/modpipe/cli"
)

func main() { os.Exit(cli.Worker(context.Background(), cli.System())) }
