package function

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/internal/exec/exectest"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// reader is a program whose function reports what it finds.
type reader struct{}

func (reader) Call(ctx context.Context, req call.Request) call.Response {
	if req.Function == "secret" {
		return call.Response{Began: true, Result: []byte(told(req))}
	}
	found, err := reads(ctx, req)
	if err != nil {
		return call.Response{Began: true, Error: err.Error()}
	}
	return call.Response{Began: true, Result: []byte(found)}
}

func reads(ctx context.Context, req call.Request) (string, error) {
	files, err := req.Files.Open(ctx, "build", "bin")
	if err != nil {
		return "", err
	}
	if err := fstest.TestFS(files, "a/x", "y"); err != nil {
		return "", err
	}
	text, err := fs.ReadFile(files, "a/x")
	if err != nil {
		return "", err
	}
	to := filepath.Join(req.Dir, "to")
	if err := req.Files.Unpack(ctx, "build", "bin", to); err != nil {
		return "", err
	}
	y, err := os.ReadFile(filepath.Join(to, "y"))
	if err != nil {
		return "", err
	}
	if _, err := req.Files.Open(ctx, "build", "optional"); !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("open what was not left: %w", err)
	}
	ended, end := context.WithCancel(ctx)
	end()
	if _, err := req.Files.Open(ended, "build", "bin"); !errors.Is(err, context.Canceled) {
		return "", fmt.Errorf("open when the attempt has ended: %w", err)
	}
	return fmt.Sprint(string(text), " ", string(y), " ", os.Getenv("MODS")), nil
}

// artifacts are those of a worker.
type artifacts map[string]fs.FS

func (a artifacts) Open(_ context.Context, module, name string) (fs.FS, error) {
	if files, ok := a[module+"/"+name]; ok {
		return files, nil
	}
	return nil, fs.ErrNotExist
}

func (a artifacts) Unpack(ctx context.Context, module, name, dir string) error {
	files, err := a.Open(ctx, module, name)
	if err != nil {
		return err
	}
	return os.CopyFS(dir, files)
}

// TestFunctionInAProcessOfItsOwnFindsFiles: it finds the artifacts that it opens, its
// directory, and the variables with its cache directories.
func TestFunctionInAProcessOfItsOwnFindsFiles(t *testing.T) {
	opened := func(name string) jobs.Restore {
		return jobs.Restore{Artifact: jobs.Artifact{Name: name}, Module: "build", Need: "build", Open: true}
	}
	job := &jobs.Job{Func: &jobs.FuncJob{Name: "f"}, Files: &jobs.JobFiles{Restore: []jobs.Restore{opened("bin"), opened("optional")}}}
	task := &exec.Task{
		Job: job, Stops: exectest.NewStops(), Dir: t.TempDir(), Variables: []pipeline.KeyValue{{Key: "MODS", Value: "/mods"}},
		Files: artifacts{"build/bin": fstest.MapFS{"a/x": {Data: []byte("x")}, "y": {Data: []byte("y")}}},
	}
	r := exec.Run(t.Context(), Executor{Program: Isolated(reader{})}, task, &exectest.Output{})
	if r.Status != report.AttemptSucceeded || string(r.Value) != "x y /mods" {
		t.Errorf("it is %s, %q: %s", r.Status, r.Value, r.Error)
	}
	task.Files = artifacts{}
	r = exec.Run(t.Context(), Executor{Program: Isolated(reader{})}, task, &exectest.Output{})
	if r.Status != report.AttemptFailed || !strings.Contains(r.Error, fs.ErrNotExist.Error()) {
		t.Errorf("without its artifacts it is %s: %s", r.Status, r.Error)
	}
	task.Files = broken{}
	r = exec.Run(t.Context(), Executor{Program: Isolated(reader{})}, task, &exectest.Output{})
	if r.Status != report.AttemptFailed || !strings.Contains(r.Error, io.ErrUnexpectedEOF.Error()) {
		t.Errorf("with damaged artifacts it is %s: %s", r.Status, r.Error)
	}
}

// broken are artifacts that cannot be read.
type broken struct{ artifacts }

func (broken) Unpack(context.Context, string, string, string) error { return io.ErrUnexpectedEOF }
