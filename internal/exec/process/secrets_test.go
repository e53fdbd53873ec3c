//go:build linux

package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/internal/exec/exectest"
	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

const pem = "-----BEGIN KEY-----\nMIIEvQ/+=\n\n-----END KEY-----\n"

func TestCommandFindsItsSecrets(t *testing.T) {
	job := script(`printf %s "$TOKEN" | od -An -c;
stat -c %a "$CERT"; cat "$CERT"; echo "path=$CERT workspace=$MODPIPE_WORKSPACE"`)
	job.Command.Env = []pipeline.KeyValue{{Key: "TOKEN", Value: "literal"}}
	job.Command.Shell = "bash"
	c := newSetting(t, job)
	task := c.task(exectest.NewStops())
	task.Secrets = []mask.Secret{
		{Name: "TOKEN", Value: "one\ntwo"},
		{Name: "signing-cert", Env: "CERT", Value: pem, File: true},
		{Name: "X", Env: "MODPIPE_RUN_ID", Value: "forged-run"},
	}
	out := &exectest.Output{}
	if r := exec.Run(t.Context(), c.executor(), task, out); r.Status != report.AttemptSucceeded || len(r.Warnings) > 0 {
		t.Fatalf("%+v; %s", r, out.Stderr())
	}
	got := out.Stdout()
	for _, want := range []string{`o   n   e  \n   t   w   o`, "\n600\n", pem} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	_, rest, _ := strings.Cut(got, "path=")
	path, workspace, _ := strings.Cut(strings.TrimSpace(rest), " workspace=")
	if path == "" || strings.HasPrefix(path, workspace+"/") {
		t.Errorf("the file %q is in the workspace %q", path, workspace)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", path, err)
	}
}

// TestFilesOfSecretsGo: they are removed when a command could not start, and after one
// that ends, so that its directory can serve the next attempt.
func TestFilesOfSecretsGo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for name, job := range map[string]*jobs.Job{
		"ends": script("true"), "cannot start": {Command: &jobs.CommandJob{Args: []string{"no-such-tool"}}},
		"is killed": script("kill -KILL $$"), "makes a directory of it": script(`rm "$CERT"; mkdir -p "$CERT/a"; chmod 500 "$CERT"`),
	} {
		c := newSetting(t, job)
		c.spares = &spares{most: 1}
		task := c.task(exectest.NewStops())
		task.Secrets = []mask.Secret{{Name: "CERT", Value: pem, File: true}}
		r := exec.Run(t.Context(), c.executor(), task, &exectest.Output{})
		err := filepath.WalkDir(os.TempDir(), func(path string, _ os.DirEntry, err error) error {
			if strings.Contains(path, "CERT") {
				t.Errorf("%s: %s is left (%s %v)", name, path, r.Error, r.Warnings)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		c.spares.remove()
	}
}

// TestGuardRemovesTheFilesOfSecrets of a worker that was killed.
func TestGuardRemovesTheFilesOfSecrets(t *testing.T) {
	g := startTestGuard(t)
	root := func() string {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, secretsName), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, secretsName, "CERT"), []byte(pem), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	runs, starts := root(), root()
	g.starts(markerName+filepath.Join(starts, outputName), false)
	g.mu.Lock()
	g.send("+ %d 0 %s", 1<<30, markerName+filepath.Join(runs, outputName)) // a process that has ended, and was not collected
	_ = g.watcher.in.Close()                                               // as when the worker dies
	g.mu.Unlock()
	<-g.watcher.ended
	for _, dir := range []string{runs, starts} {
		if _, err := os.Stat(filepath.Join(dir, secretsName)); !os.IsNotExist(err) {
			t.Errorf("the files are left: %v", err)
		}
	}
}

// TestErrorsQuoteNoPartOfASecret: texts are cut where they are quoted.
func TestErrorsQuoteNoPartOfASecret(t *testing.T) {
	const token = "0123456789abcdefghijklmnopqrstuvwxyz"
	m := mask.New([]mask.Secret{{Name: "TOKEN", Value: token}})
	for _, before := range []int{0, mostQuoted - len(token), mostQuoted - 10, mostQuoted - 1} {
		pad := strings.Repeat("-", before)
		for _, text := range []string{pad + token, "x<<" + pad + token + "\n", "=" + pad + token, pad + token + "=\xff"} {
			_, err := parseOutputs([]byte(text), m)
			if err == nil || strings.Contains(err.Error(), "0123") {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
}
