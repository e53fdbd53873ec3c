// Command parcels is a program whose modules hand files to each other.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/cli"
)

func main() { cli.Main("parcels", parcels) }

func parcels(p *modpipe.Builder) {
	// dir is a directory that all workers of the test can reach.
	dir := modpipe.Param(p, "dir", "", "directory of the test")
	build := modpipe.Add(p, "build", modpipe.Call(pack), modpipe.Produce("bin", "out/**"))
	var parts []modpipe.Value[modpipe.Artifact]
	for i := range 2 {
		part := modpipe.Add(p, fmt.Sprintf("part (i=%d)", i), modpipe.Call(number(i).write), modpipe.Produce("log", "log"))
		parts = append(parts, modpipe.Files(part, "log"))
	}
	bin := modpipe.Files(build, "bin")
	modpipe.Add(p, "open-one", modpipe.Call2(reader("one").read, dir, bin))
	modpipe.Add(p, "open-two", modpipe.Call2(reader("two").read, dir, bin))
	modpipe.Add(p, "restored", modpipe.Call(restored), modpipe.Consume{Artifact: bin, To: "in"})
	modpipe.Add(p, "all", modpipe.Call1(all, modpipe.All(parts...)))
	modpipe.Add(p, "command", modpipe.Command{Run: `test "$(out/run.sh)" = ran && test "$(cat out/lib/a)" = a`}, modpipe.Consume{Artifact: bin})
}

// pack leaves files below its directory.
func pack(ctx context.Context) (string, error) {
	dir := modpipe.AttemptOf(ctx).Dir
	for name, text := range map[string]string{"run.sh": "#!/bin/sh\necho ran\n", "lib/a": "a", "large": strings.Repeat("0123456789abcdef", 1<<17)} {
		path := filepath.Join(dir, "out", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		mode := os.FileMode(0o644)
		if name == "run.sh" {
			mode = 0o755
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			return "", err
		}
	}
	return "packed", nil
}

type number int

func (n number) write(ctx context.Context) (int, error) {
	return int(n), os.WriteFile(filepath.Join(modpipe.AttemptOf(ctx).Dir, "log"), fmt.Append(nil, "part ", int(n)), 0o600)
}

type reader string

// read reads an artifact while the other reader does: on a worker of one slot they are
// on two workers, one of which has not made it.
func (r reader) read(ctx context.Context, dir string, bin modpipe.Artifact) (string, error) {
	if err := r.meet(ctx, dir); err != nil {
		return "", err
	}
	files, err := bin.Open(ctx)
	if err != nil {
		return "", err
	}
	text, err := fs.ReadFile(files, "out/lib/a")
	if err != nil {
		return "", err
	}
	info, err := fs.Stat(files, "out/run.sh")
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o100 == 0 {
		return "", fmt.Errorf("out/run.sh has mode %v", info.Mode())
	}
	to, err := os.MkdirTemp("", "parcels-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(to) //nolint:errcheck // it is temporary
	if err := bin.Unpack(ctx, filepath.Join(to, "x")); err != nil {
		return "", err
	}
	large, err := os.ReadFile(filepath.Join(to, "x", "out", "large"))
	if err != nil {
		return "", err
	}
	return fmt.Sprint(string(text), " ", len(large)), nil
}

// meet returns when both readers have called it.
func (r reader) meet(ctx context.Context, dir string) error {
	if err := os.WriteFile(filepath.Join(dir, string(r)), nil, 0o600); err != nil {
		return err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		_, one := os.Stat(filepath.Join(dir, "one"))
		_, two := os.Stat(filepath.Join(dir, "two"))
		if one == nil && two == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), one, two)
		}
	}
}

func restored(ctx context.Context) (string, error) {
	text, err := os.ReadFile(filepath.Join(modpipe.AttemptOf(ctx).Dir, "in", "out", "lib", "a"))
	return string(text), err
}

// all reads the artifacts of several modules.
func all(ctx context.Context, parts []modpipe.Artifact) (string, error) {
	var texts []string
	for _, part := range parts {
		files, err := part.Open(ctx)
		if err != nil {
			return "", err
		}
		text, err := fs.ReadFile(files, "log")
		if err != nil {
			return "", err
		}
		texts = append(texts, string(text))
	}
	return strings.Join(texts, ", "), nil
}
