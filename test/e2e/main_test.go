// Package e2e holds the tests that drive the two programs as a user does:
// built binaries, real processes, a NATS server in its own process,
// kill -9.
//
// A place is where pipelines run: standalone (one process with an embedded
// server and worker) or workers (a server, worker processes, an orchestrator).
// A scenario runs in both and asserts the same statuses. Nothing here sleeps:
// a test and the modules of its pipeline wait for each other by gates (FIFOs),
// by files, and by the events that `--progress json` prints; patience bounds
// every wait and is far beyond what anything takes.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen before it gives up.
const patience = 90 * time.Second

var raceBinaries = flag.Bool("race-binaries", false, "build the programs under test with the race detector")

// root is the module's directory.
var root string

// binaries are the programs under test, built once.
var binaries struct{ dir, orchestrator, worker, nats string }

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (int, error) {
	var err error
	if root, err = filepath.Abs("../.."); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "modpipe-e2e-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if err := build(dir); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func build(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	binaries.dir = dir
	for _, b := range []struct {
		path *string
		name string
		pkg  string
	}{
		{&binaries.orchestrator, "orchestrator", "./cmd/orchestrator"},
		{&binaries.worker, "worker", "./cmd/worker"},
		{&binaries.nats, "nats-server", "github.com/nats-io/nats-server/v2"},
	} {
		*b.path = filepath.Join(dir, b.name)
		args := []string{"build", "-o", *b.path}
		if *raceBinaries && b.name != "nats-server" {
			args = append(args, "-race")
		}
		cmd := exec.CommandContext(ctx, "go", append(args, b.pkg)...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", b.pkg, err, out)
		}
	}
	return nil
}
