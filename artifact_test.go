package modpipe_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/modpipetest"
	"github.com/modpipe/modpipe/pipeline"
)

// writes makes a function that leaves files in the directory of its attempt.
func writes(files map[string]string) func(context.Context) (struct{}, error) {
	return func(ctx context.Context) (struct{}, error) {
		for name, text := range files {
			path := filepath.Join(modpipe.AttemptOf(ctx).Dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return struct{}{}, err
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	}
}

// lists returns the names of the files of an artifact, with their contents.
func lists(ctx context.Context, a modpipe.Artifact) (string, error) {
	files, err := a.Open(ctx)
	if err != nil {
		return "", err
	}
	return listing(files)
}

func listing(files fs.FS) (string, error) {
	var all []string
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		all = append(all, name+"="+string(data))
		return err
	})
	return strings.Join(all, " "), err
}

func TestAFunctionOpensAnArtifact(t *testing.T) {
	p := modpipetest.New(t, func(p *modpipe.Builder) {
		build := modpipe.Add(p, "build", modpipe.Call(writes(map[string]string{"bin/a": "1", "bin/b.txt": "2", "other": "3"})), modpipe.Produce("bin", "bin/", "!**/*.txt"))
		modpipe.Add(p, "list", modpipe.Call1(lists, modpipe.Files(build, "bin")))
		modpipe.Add(p, "unpack", modpipe.Call1(func(ctx context.Context, a modpipe.Artifact) (string, error) {
			dir := filepath.Join(t.TempDir(), "new")
			if err := a.Unpack(ctx, dir); err != nil {
				return "", err
			}
			return listing(os.DirFS(dir))
		}, modpipe.Files(build, "bin")))
		modpipe.Add(p, "restored", modpipe.Call(func(ctx context.Context) (string, error) {
			return listing(os.DirFS(modpipe.AttemptOf(ctx).Dir))
		}), modpipe.Consume{Artifact: modpipe.Files(build, "bin"), To: "below"})
	})
	if s := p.Run(); s != "succeeded" {
		t.Fatalf("the run %s: %v", s, p.Report())
	}
	for module, want := range map[string]string{"list": "bin/a=1", "unpack": "bin/a=1", "restored": "below/bin/a=1"} {
		if got := modpipetest.Result[string](p, module); got != want {
			t.Errorf("%s: %q, want %q", module, got, want)
		}
	}
	if got, err := listing(modpipetest.Files(p, "build", "bin")); err != nil || got != "bin/a=1" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestFilesOfAFamilyAreBelowItsMembers(t *testing.T) {
	p := modpipetest.New(t, func(p *modpipe.Builder) {
		var all []modpipe.Need
		for _, os := range []string{"linux", "windows"} {
			all = append(all, modpipe.Add(p, "build (os="+os+")", modpipe.Call(writes(map[string]string{"bin/a": os})), modpipe.Produce("bin", "bin/**")))
		}
		modpipe.Add(p, "one", modpipe.Call1(lists, modpipe.Files(all[1], "bin")))
		modpipe.Add(p, "two", modpipe.Call2(func(ctx context.Context, a, b modpipe.Artifact) (string, error) {
			x, err := lists(ctx, a)
			y, err2 := lists(ctx, b)
			return a.Module() + ": " + x + ", " + b.Module() + ": " + y, errors.Join(err, err2)
		}, modpipe.Files(all[0], "bin"), modpipe.Files(all[1], "bin")))
	})
	if got := modpipetest.Result[string](p, "one"); got != "bin/a=windows" {
		t.Errorf("one: %q", got)
	}
	if got, want := modpipetest.Result[string](p, "two"), "build (os=linux): bin/a=linux, build (os=windows): bin/a=windows"; got != want {
		t.Errorf("two: %q, want %q", got, want)
	}
}

func TestStubbedFiles(t *testing.T) {
	define := func(p *modpipe.Builder) {
		build := modpipe.Add(p, "build", modpipe.Command{Run: "make"}, modpipe.Produce("bin", "bin/**"))
		modpipe.Add(p, "list", modpipe.Call1(lists, modpipe.Files(build, "bin")))
	}
	p := modpipetest.New(t, define, modpipetest.StubFiles("build", "bin", fstest.MapFS{"bin/a": {Data: []byte("x")}}))
	if got := modpipetest.Result[string](p, "list"); got != "bin/a=x" {
		t.Errorf("list: %q", got)
	}
	p = modpipetest.New(t, define, modpipetest.Stub("build", map[string]string{}))
	if o := p.Outcome("build"); !strings.Contains(o.Reason, `StubFiles("build", "bin", …)`) {
		t.Errorf("build: %v", o)
	}
}

func TestAnArtifactMayBeMissing(t *testing.T) {
	fails := func(context.Context) (struct{}, error) { return struct{}{}, errFlaky }
	missing := func(ctx context.Context, a modpipe.Artifact) (bool, error) {
		_, err := a.Open(ctx)
		return errors.Is(err, fs.ErrNotExist), nil
	}
	p := modpipetest.New(t, func(p *modpipe.Builder) {
		p.FailSlow = true
		none := modpipe.Add(p, "none", modpipe.Call(writes(nil)), modpipe.Produces{Name: "log", Globs: []string{"*.log"}, Optional: true})
		modpipe.Add(p, "reads-none", modpipe.Call1(missing, modpipe.Files(none, "log")))
		broken := modpipe.Add(p, "broken", modpipe.Call(fails), modpipe.IgnoreFailure(), modpipe.Produce("bin", "bin/**"))
		modpipe.Add(p, "reads-broken", modpipe.Call1(func(_ context.Context, a *modpipe.Artifact) (bool, error) { return a == nil, nil }, modpipe.Optional(modpipe.Files(broken, "bin"))))
		modpipe.Add(p, "nothing", modpipe.Call(writes(nil)), modpipe.Produce("bin", "bin/**"))
	})
	for _, module := range []string{"reads-none", "reads-broken"} {
		if !modpipetest.Result[bool](p, module) {
			t.Errorf("%s: the artifact is there", module)
		}
	}
	if o := p.Outcome("nothing"); o.Status != "failed" || o.Reason != "artifact bin: nothing matches bin/**" {
		t.Errorf("nothing: %v", o)
	}
}

func TestCacheInTheGraph(t *testing.T) {
	program, err := modpipe.Build("t", func(p *modpipe.Builder) {
		modpipe.Add(p, "m", modpipe.Call(one), modpipe.Cache{Inputs: []string{"src/"}, Key: []string{"k"}, Portable: true}, modpipe.Version("v3"),
			modpipe.CacheDir{Name: "mod", Env: "GOMODCACHE", Key: "go-", HashFiles: []string{"go.sum", "tools/go.sum"}, Restore: []string{"go-"}})
	})
	if err != nil {
		t.Fatal(err)
	}
	g, err := program.Pipeline(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := g.Modules[0]
	if m.Func.Version != "v3" || m.Cache == nil || m.Cache.Inputs[0] != "src/**" || !m.HashesFiles() {
		t.Errorf("%+v %+v", m.Func, m.Cache)
	}
	files, err := g.ResolveFiles(m, pipeline.Scope{HashFiles: func(globs []string) (string, error) { return strings.Join(globs, "+"), nil }})
	if err != nil || files.CacheDirs[0].Key != "go-go.sum+tools/go.sum" {
		t.Errorf("%+v, %v", files.CacheDirs, err)
	}
}
