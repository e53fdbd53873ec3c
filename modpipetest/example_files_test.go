package modpipetest_test

import (
	"context"
	"fmt"
	"io/fs"
	"testing/fstest"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/modpipetest"
)

// packages is a pipeline whose modules hand files to each other.
func packages(p *modpipe.Builder) {
	build := modpipe.Add(p, "build", modpipe.Command{Run: "make"}, modpipe.Produce("bin", "bin/**"))
	modpipe.Add(p, "count", modpipe.Call1(count, modpipe.Files(build, "bin")))
}

func count(ctx context.Context, bin modpipe.Artifact) (int, error) {
	files, err := bin.Open(ctx)
	if err != nil {
		return 0, err
	}
	names, err := fs.Glob(files, "bin/*")
	return len(names), err
}

func ExampleStubFiles() {
	var t quiet // in a test: t *testing.T
	p := modpipetest.New(t, packages, modpipetest.StubFiles("build", "bin", fstest.MapFS{"bin/tool": {Data: []byte("…")}}))
	fmt.Println(modpipetest.Result[int](p, "count"))
	// Output: 1
}

func ExampleFiles() {
	var t quiet // in a test: t *testing.T
	p := modpipetest.New(t, packages, modpipetest.StubFiles("build", "bin", fstest.MapFS{"bin/tool": {Data: []byte("…")}}))
	p.Run()
	fmt.Println(fstest.TestFS(modpipetest.Files(p, "build", "bin"), "bin/tool"))
	// Output: <nil>
}
