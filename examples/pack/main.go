// Command pack builds something with a command, on whichever worker has the tools,
// and packs what that has left, on whichever worker is free. The workers share no
// files: the artifact travels.
//
//	pack run
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/cli"
)

func main() { cli.Main("pack", pack) }

func pack(p *modpipe.Builder) {
	build := modpipe.Add(p, "build", modpipe.Command{Run: script}, modpipe.Produce("bin", "bin/**"))
	modpipe.Add(p, "sums", modpipe.Call1(sums, modpipe.Files(build, "bin")))
}

// script stands for a compiler.
const script = `
mkdir -p bin
for os in linux darwin; do echo "a program for $os" >bin/app-$os; done
`

// sums returns the digest of every file of an artifact. A file is fetched when it
// is opened.
func sums(ctx context.Context, bin modpipe.Artifact) (map[string]string, error) {
	files, err := bin.Open(ctx) // or bin.Unpack(ctx, dir)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	err = fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, path)
		found[path] = fmt.Sprintf("%x", sha256.Sum256(text))
		return err
	})
	return found, err
}
