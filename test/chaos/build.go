package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// binaries are the programs, built once.
type binaries struct{ orchestrator, worker, nats, member string }

// build builds them into dir. It runs where the module is.
func build(ctx context.Context, dir string) (binaries, error) {
	b := binaries{
		orchestrator: filepath.Join(dir, "orchestrator"), worker: filepath.Join(dir, "worker"),
		nats: filepath.Join(dir, "nats-server"), member: filepath.Join(dir, "member"),
	}
	for path, pkg := range map[string]string{
		b.orchestrator: "github.com/modpipe/modpipe/cmd/orchestrator",
		b.worker:       "github.com/modpipe/modpipe/cmd/worker",
		b.nats:         "github.com/nats-io/nats-server/v2",
		b.member:       "github.com/modpipe/modpipe/test/chaos/member",
	} {
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", path, pkg).CombinedOutput(); err != nil { //nolint:gosec // our own packages
			return b, fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	return b, nil
}

// probe finds the features of the programs.
func probe(ctx context.Context, dir string, b binaries) (features, error) {
	file := filepath.Join(dir, "probe.yaml")
	text := "name: probe\nmodules: {a: {run: 'true', not-in-parallel: [{key: k, scope: cluster}]}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return features{}, err
	}
	can := func(args ...string) bool { return exec.CommandContext(ctx, b.orchestrator, args...).Run() == nil } //nolint:gosec // our own program
	return features{clusterKeys: can("validate", file)}, nil
}
