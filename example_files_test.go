package modpipe_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing/fstest"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/modpipetest"
)

// built is what the build of the examples leaves.
var built = modpipetest.StubFiles("build", "bin", fstest.MapFS{
	"bin/tool": {Data: []byte("an executable")}, "bin/LICENSE": {Data: []byte("a licence")},
})

func ExampleFiles() {
	size := func(ctx context.Context, bin modpipe.Artifact) (string, error) {
		files, err := bin.Open(ctx)
		if err != nil {
			return "", err
		}
		tool, err := fs.Stat(files, "bin/tool")
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s of %s: the tool has %d bytes", bin.Name(), bin.Module(), tool.Size()), nil
	}
	run(func(p *modpipe.Builder) {
		build := modpipe.Add(p, "build", modpipe.Command{Run: "make"}, modpipe.Produce("bin", "bin/**"))
		modpipe.Add(p, "size", modpipe.Call1(size, modpipe.Files(build, "bin")))
	}, built)
	// Output:
	// build: succeeded
	// size: succeeded "bin of build: the tool has 13 bytes"
}

func ExampleArtifact_Unpack() {
	install := func(ctx context.Context, bin modpipe.Artifact) (int, error) {
		dir, err := os.MkdirTemp("", "install")
		if err != nil {
			return 0, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if err := bin.Unpack(ctx, dir); err != nil {
			return 0, err
		}
		names, err := filepath.Glob(filepath.Join(dir, "bin", "*"))
		return len(names), err
	}
	run(func(p *modpipe.Builder) {
		build := modpipe.Add(p, "build", modpipe.Command{Run: "make"}, modpipe.Produce("bin", "bin/**"))
		modpipe.Add(p, "install", modpipe.Call1(install, modpipe.Files(build, "bin")))
	}, built)
	// Output:
	// build: succeeded
	// install: succeeded 2
}

func ExampleProduces() {
	graph(func(p *modpipe.Builder) {
		modpipe.Add(p, "test", modpipe.Command{Run: "make test"},
			modpipe.Produce("coverage", "coverage/**", "!**/*.tmp"),
			modpipe.Produces{Name: "logs", Globs: []string{"**/*.log"}, Optional: true, OnFailure: true})
	})
	// Output: test <-
}

// A configuration that is encrypted before it leaves the team may contain a token.
func ExampleSecretsInArtifacts() {
	graph(func(p *modpipe.Builder) {
		modpipe.Add(p, "configure", modpipe.Command{Run: "./configure.sh >settings && age -e -r \"$RECIPIENT\" -o settings.age settings"},
			modpipe.Produce("settings", "settings*"), modpipe.SecretsInArtifacts())
	})
	// Output: configure <-
}

func ExampleConsume() {
	graph(func(p *modpipe.Builder) {
		build := modpipe.Add(p, "build", modpipe.Command{Run: "make"}, modpipe.Produce("bin", "bin/**"))
		modpipe.Add(p, "publish", modpipe.Command{Run: "./publish.sh dist/bin"},
			modpipe.Consume{Artifact: modpipe.Files(build, "bin"), To: "dist"})
	})
	// Output:
	// build <-
	// publish <- build
}

func ExampleCache() {
	graph(func(p *modpipe.Builder) {
		modpipe.Add(p, "build", modpipe.Command{Run: "go build -o bin/ ./..."},
			modpipe.Cache{Inputs: []string{"**/*.go", "go.mod", "go.sum"}},
			modpipe.Requires{OS: "linux", Arch: "amd64", Tools: []string{"go>=1.26"}},
			modpipe.CacheDir{Name: "modules", Env: "GOMODCACHE", Key: "go-", HashFiles: []string{"go.sum"}, Restore: []string{"go-"}},
			modpipe.Produce("bin", "bin/**"))
	})
	// Output: build <-
}

func ExampleVersion() {
	graph(func(p *modpipe.Builder) {
		// A new build of the program uses the cached results of v3.
		modpipe.Add(p, "fetch", modpipe.Call(fetch), modpipe.Cache{Portable: true}, modpipe.Version("v3"))
	})
	// Output: fetch <-
}
